#include "agent/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/limits.h"
#include "base/log.h"

extern char** environ;

namespace epif::agent {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> arguments_of(const std::filesystem::path& process) {
  std::ifstream file(process / "cmdline", std::ios::binary);
  std::vector<std::string> out;
  std::string word;
  while (std::getline(file, word, '\0')) out.push_back(word);
  return out;
}

Fd open_pid(std::int64_t pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))); }

bool ended(int pidfd) {
  pollfd look{pidfd, POLLIN, 0};
  return ::poll(&look, 1, 0) > 0;
}

}  // namespace

void Daemon::find() {
  pid_ = 0;
  pidfd_.reset();
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos || std::stoll(name) == ::getpid()) continue;
    struct stat owner {};
    if (::stat(entry.path().c_str(), &owner) != 0 || owner.st_uid != ::geteuid()) continue;
    auto arguments = arguments_of(entry.path());
    // argv[1] is the subcommand: a shell or a wrapper that merely carries the same words is not the daemon itself.
    if (arguments.size() < 3 || arguments[1] != name_) continue;
    if (std::ranges::find(arguments, mark_) == arguments.end()) continue;
    auto pidfd = open_pid(std::stoll(name));
    if (!pidfd || ended(pidfd.get())) continue;
    pid_ = std::stoll(name);
    pidfd_ = std::move(pidfd);
    command_ = std::move(arguments);
    started_ = Clock::now();
    return;
  }
}

bool Daemon::running() const { return pidfd_ && !ended(pidfd_.get()); }

void Daemon::note_end() {
  if (!pidfd_) return;
  ::waitid(P_PID, static_cast<id_t>(pid_), nullptr, WEXITED | WNOHANG);  // ours, if this agent started it
  const bool early = Clock::now() - started_ < std::chrono::seconds(5);
  back_off_ = early ? std::clamp(back_off_ * 2, std::chrono::milliseconds(100), std::chrono::milliseconds(5000))
                    : std::chrono::milliseconds(0);
  retry_at_ = Clock::now() + back_off_;
  trouble_ = "it ended";
  if (const auto line = last_line(); !line.empty()) trouble_ += "; its last words: " + line;
  log::warn("agent", name_ + " ended", {{"pid", std::to_string(pid_)}, {"trouble", trouble_}});
  pid_ = 0;
  pidfd_.reset();
}

Result<> Daemon::ensure(const std::vector<std::string>& command) {
  if (pidfd_ && !running()) note_end();
  if (!pidfd_ && back_off_.count() == 0) find();
  if (pidfd_ && command_ != command) {
    // Not a clean stop: that would take the capture rules away, and the node would be open until the next one runs.
    if (auto ended = end(SIGKILL); !ended) return ended;
  }
  if (pidfd_) {
    if (Clock::now() - started_ > std::chrono::seconds(5)) back_off_ = std::chrono::milliseconds(0);
    return {};
  }
  if (Clock::now() < retry_at_) return fail(Code::io, name_ + " does not stay up", log_, trouble_);
  return start(command);
}

Result<> Daemon::start(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, 1, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&files, 1, 2);
  ::posix_spawn_file_actions_addclosefrom_np(&files, 3);
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, command.front().c_str(), &files, &attributes, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail(system_error(error, "cannot start " + name_, command.front()));
  pid_ = pid;
  pidfd_ = open_pid(pid);
  // The kernel lets the parent go on a moment before the new arguments can be read; find() knows a process by them.
  while (arguments_of("/proc/" + std::to_string(pid)).empty() && !ended(pidfd_.get())) ::sched_yield();
  command_ = command;
  started_ = Clock::now();
  trouble_.clear();
  log::info("agent", name_ + " started", {{"pid", std::to_string(pid)}});
  return {};
}

Result<> Daemon::run(const std::vector<std::string>& command) {
  if (auto started = start(command); !started) return started;
  pollfd look{pidfd_.get(), POLLIN, 0};
  if (::poll(&look, 1, static_cast<int>(limits::daemon_stop_ms)) == 0) return stop();
  siginfo_t how{};
  ::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED | WNOHANG);
  pid_ = 0;
  pidfd_.reset();
  if (how.si_code == CLD_EXITED && how.si_status == 0) return {};
  return fail(Code::io, name_ + " failed", log_, last_line());
}

Result<> Daemon::stop() { return end(SIGTERM); }

Result<> Daemon::halt(const std::string& why) {
  trouble_ = why;
  return end(SIGKILL);
}

Result<> Daemon::end(int signal) {
  if (!pidfd_) find();
  if (!pidfd_) return {};
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
  pollfd look{pidfd_.get(), POLLIN, 0};
  if (::poll(&look, 1, static_cast<int>(limits::daemon_stop_ms)) == 0) {
    log::warn("agent", name_ + " does not stop; it is killed", {{"pid", std::to_string(pid_)}});
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    if (::poll(&look, 1, static_cast<int>(limits::daemon_stop_ms)) == 0) {
      return fail(Code::timeout, name_ + " cannot be ended", "pid " + std::to_string(pid_));
    }
  }
  ::waitid(P_PID, static_cast<id_t>(pid_), nullptr, WEXITED | WNOHANG);
  pid_ = 0;
  pidfd_.reset();
  back_off_ = std::chrono::milliseconds(0);
  return {};
}

std::string Daemon::trouble() const { return running() ? std::string() : trouble_.empty() ? "not started yet" : trouble_; }

std::string Daemon::last_line() const {
  std::ifstream file(log_, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto size = static_cast<std::streamoff>(file.tellg());
  file.seekg(std::max<std::streamoff>(0, size - 2048));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto line = text.rfind('\n');
  return line == std::string::npos ? text : text.substr(line + 1);
}

}  // namespace epif::agent
