#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/limits.h"

namespace epif::agent {

/// One data-plane process (redirector or proxy) that outlives the agent: its own session, output into a log file. The agent
/// that comes after finds it again by its command line, so there is never a second copy, whenever a crash happened. Processes
/// that have handed over and only drain are no copies; they end with the others.
class Daemon {
 public:
  /// `name` for messages; `log`: output is appended; `mark`: the argument that no other process of this machine has (the
  /// path of its routes file).
  /// `takes_over`: the command knows --take-over.
  Daemon(std::string name, std::string log, std::string mark, bool takes_over = true)
      : name_(std::move(name)), log_(std::move(log)), mark_(std::move(mark)), takes_over_(takes_over) {}

  /// Makes `command` run: adopts a process with exactly these arguments and this very program, starts one if there is none. One
  /// with other arguments, or of another version, is replaced by a successor that takes over from it (`--take-over`) without a
  /// lost flow: it is started at once, and found to serve by a later call (see replacing()). If it does not serve in time, the
  /// old one goes on, not_replaced() says why, and another successor is tried after a back-off (1 s doubled to 30 s) or as soon
  /// as `command` is another. Only an old one that shows another identity, or a proxy that is to begin or end with MPTCP, is
  /// ended then, with an error once more, so that gone() can be seen before the next call starts it anew. An error while what
  /// runs was started otherwise than by `command`, but for the program's version.
  /// What died early is started not more often than once per back-off (0.1 s doubled to 5 s).
  [[nodiscard]] Result<> ensure(const std::vector<std::string>& command);
  /// Runs `command` to its end, for short work; an error with its last words if it fails, or is not done after `patience`.
  [[nodiscard]] Result<> run(const std::vector<std::string>& command,
                             std::chrono::milliseconds patience = std::chrono::milliseconds(limits::daemon_stop_ms));
  /// SIGTERM, after 8 s SIGKILL; finds the process although it was never started here, and those that drain. Returns once they are gone.
  [[nodiscard]] Result<> stop();
  /// SIGKILL: the flows are reset, and the capture rules of a redirector stay and refuse. trouble() is `why` until ensure().
  [[nodiscard]] Result<> halt(const std::string& why);

  /// Looks for it: none serves, so that ensure() will start one anew, now or after its back-off.
  [[nodiscard]] bool gone(const std::string& program);
  [[nodiscard]] bool running() const;
  [[nodiscard]] std::int64_t pid() const { return pid_; }
  /// A successor was started and does not serve yet; the old one does. Soon worth a call of ensure().
  [[nodiscard]] bool replacing() const { return successor_.has_value(); }
  /// Why the last successor did not serve, with the last line it wrote; empty once one does, or none is needed.
  [[nodiscard]] const std::string& not_replaced() const { return not_replaced_; }
  /// Readable when the process ended, or the successor; -1: none.
  [[nodiscard]] int watch_fd() const { return successor_ ? successor_->process.get() : pidfd_.get(); }
  /// Why it does not run, with the last line it wrote; empty while it runs.
  [[nodiscard]] std::string trouble() const;
  /// When ensure() may be worth calling again.
  [[nodiscard]] std::chrono::steady_clock::time_point retry_at() const { return retry_at_; }

 private:
  struct Started {
    std::int64_t pid = 0;
    Fd process;
    std::vector<std::string> command;
    std::chrono::steady_clock::time_point started;
    std::uintmax_t log_from = 0;  ///< what it writes stands behind this, and what others write
  };
  void find();
  void look(const std::string& program);
  /// Processes of this kind but the one that serves.
  [[nodiscard]] std::vector<std::int64_t> draining() const;
  void note_end();
  [[nodiscard]] Result<> replace(const std::vector<std::string>& command);
  void note_failed_successor(const std::vector<std::string>& command, const Error& error);
  void forget_failed_successor();
  [[nodiscard]] bool must_not_stay(const std::vector<std::string>& command) const;
  [[nodiscard]] Result<> follow_successor();
  void adopt(Started process);
  [[nodiscard]] Result<Started> spawn(const std::vector<std::string>& command);
  /// Ends the process with `signal`, and with SIGKILL if that does not help in time; and those that drain.
  [[nodiscard]] Result<> end(int signal);
  [[nodiscard]] Result<> end_one(std::int64_t pid, const Fd& pidfd, int signal) const;
  [[nodiscard]] Result<> start(const std::vector<std::string>& command);
  [[nodiscard]] std::string last_line() const;
  /// The reason that a program gave for its end, of what was written behind `from`; otherwise the last line.
  [[nodiscard]] std::string last_error(std::uintmax_t from) const;

  std::string name_;
  std::string log_;
  std::string mark_;
  bool takes_over_;
  std::vector<std::string> command_;
  std::int64_t pid_ = 0;
  Fd pidfd_;
  std::optional<Started> successor_;
  std::vector<std::string> failed_command_;  ///< of the last successor that did not serve
  std::string not_replaced_;
  std::chrono::milliseconds successor_back_off_{0};
  std::chrono::steady_clock::time_point successor_retry_at_{};
  std::vector<std::int64_t> replaced_;  ///< they drain; this agent's children, to be waited for
  bool other_program_ = false;  ///< it was found, and runs another file than the command names
  std::chrono::steady_clock::time_point started_{};
  std::chrono::steady_clock::time_point retry_at_{};
  std::chrono::milliseconds back_off_{0};
  std::string trouble_;
};

}  // namespace epif::agent
