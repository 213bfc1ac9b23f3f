#pragma once
#include <array>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "bridge/chain_move.h"
#include "net/loop.h"

/// For tests: real BF processes, a proxy's loop in a thread, and the two applications' sockets.
///
///   client_app --TCP--> [ Chain on a loop | bf 0 | bf 1 | ... ] --TCP--> server_app
namespace epif::functions {

/// A BF in a process of its own; killed at the end.
class FunctionProcess {
 public:
  /// Serves a built-in function on `folder`/NAME.sock; returns when it listens.
  FunctionProcess(const std::string& folder, const std::string& name, const std::string& function);
  /// Runs `body` in the child instead; it must listen on `socket()` in time.
  FunctionProcess(const std::string& folder, const std::string& name, const std::function<void(const std::string& socket)>& body);
  ~FunctionProcess();
  FunctionProcess(const FunctionProcess&) = delete;
  FunctionProcess& operator=(const FunctionProcess&) = delete;

  void kill();  ///< SIGKILL, and waits for its end
  [[nodiscard]] const std::string& socket() const { return socket_; }
  [[nodiscard]] int pid() const { return pid_; }
  [[nodiscard]] ChainLink link(std::map<std::string, std::string> parameters = {}, std::string key_pair = {}) const;

 private:
  void await_socket();
  std::string name_;
  std::string function_;
  std::string socket_;
  int pid_ = -1;
};

/// A folder under /tmp that goes away.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Two ends of a TCP connection over loopback, blocking.
[[nodiscard]] std::pair<Fd, Fd> tcp_pair();

/// One connection through a chain.
class ChainRig {
 public:
  struct Options {
    std::string early_client;
    std::string early_server;
    bridge::ChainLimits limits;
    bridge::PairKeys keys;
    std::vector<ChainLink> idle{};  ///< if any: another chain of the process, which is opened before and has no streams yet
  };
  ChainRig(std::vector<ChainLink> links, Options options);
  ~ChainRig();

  [[nodiscard]] int client() const { return client_app_.get(); }
  [[nodiscard]] int server() const { return server_app_.get(); }
  void close_client() { client_app_.reset(); }
  /// A reset instead of an end.
  void reset_client();
  void reset_server();
  /// Chain::cut on the loop's thread.
  void cut(Error why);
  /// The chain goes on as one that came from another process; false if it cannot leave.
  bool move();
  /// Waits for the outcome of open(): empty if all accepted.
  [[nodiscard]] std::optional<Error> refusal();
  /// Waits for the report of run().
  [[nodiscard]] bridge::ChainReport report();

 private:
  static net::Task<> connection(ChainRig& rig);
  void settle(std::function<void()> change);

  std::vector<ChainLink> links_;
  Options options_;
  Fd client_app_, server_app_, client_leg_, server_leg_;
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<bridge::ControlPool> pool_;
  std::unique_ptr<bridge::Chain> chain_;
  std::unique_ptr<bridge::Chain> idle_;
  bridge::Departure departure_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool opened_ = false;
  std::optional<Error> refusal_;
  std::optional<bridge::ChainReport> report_;
  std::thread thread_;
};

/// Blocking helpers. `read_all` stops at an end or error: `error` is 0 for an orderly end, else errno.
struct ReadAll {
  std::string bytes;
  int error = 0;
};
[[nodiscard]] ReadAll read_all(int fd);
[[nodiscard]] std::string read_exactly(int fd, std::size_t size);
/// False when the peer broke the connection.
bool write_all(int fd, std::string_view bytes);
void end_writing(int fd);
[[nodiscard]] std::string noise(std::size_t size, unsigned seed = 1);

}  // namespace epif::functions
