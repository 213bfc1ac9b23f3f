#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "net/certificate_files.h"
#include "net/memory_trim.h"
#include "redirect/command.h"
#include "redirect/installed_capture.h"
#include "redirect/redirector.h"

/// A redirector with its rules, from start to a clean stop: what `epif redirect` runs.
namespace epif::redirect {

struct ServiceOptions {
  Settings settings;                     ///< its `tls` comes from `certificate`
  std::optional<net::TlsFiles> certificate;  ///< read again when renewed; absent: all legs in clear
  std::vector<CaptureTarget> capture;    ///< captured besides the routes' destinations
  std::vector<CaptureTarget> excluded;   ///< neither captured nor guarded
  bool gateway = false;                  ///< take what the node forwards, too
  bool dns = false;                      ///< capture DNS; routes with names ask for it as well
  std::vector<std::pair<std::string, IpAddress>> names;  ///< standalone use: DNS answers the address, the proxy is asked for the name
  RouteSelector selector;                ///< standalone use: whose traffic is carried; all other is refused
  std::optional<SocketAddress> proxy;    ///< standalone use: everything goes there
  Identity proxy_identity;               ///< what the proxy's certificate must name; empty: any of the authority
  std::string routes_file;               ///< managed use: followed while it changes; empty: standalone
  std::string state_dir = "/run/epif";
  std::vector<std::string> command;      ///< --exec; empty: run until SIGINT or SIGTERM
  std::string command_user;
};

class Service {
 public:
  /// Claims the port, reads the routes, binds, installs the rules: in this order, so that a failure leaves nothing behind
  /// and the rules stand before anything that they guard. Blocks SIGINT and SIGTERM for this thread and those it starts.
  [[nodiscard]] static Result<std::unique_ptr<Service>> start(ServiceOptions options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Starts the command, serves until it ends or a signal asks to stop, cuts all flows and removes the rules. Gives the
  /// command's exit code, otherwise 0.
  [[nodiscard]] Result<int> run();
  /// Instead of run(): ends without having served, and removes the rules.
  void abandon();
  /// Any thread.
  [[nodiscard]] Stats stats(bool with_flows);
  /// Generation of the routes that all threads follow and whose rules are installed. Any thread.
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

 private:
  explicit Service(ServiceOptions options);
  [[nodiscard]] Result<> read_certificate();
  [[nodiscard]] Result<> serve();
  [[nodiscard]] Result<Routes> load() const;
  void apply(Routes routes);
  void settle();  ///< brings the rules in line with the routes; tries again later if that fails
  [[nodiscard]] Result<> install(const Routes& routes, bool with_old_own);
  void reload();
  net::Task<void> watch_signals();
  net::Task<void> watch_command();
  void finish(int code);

  ServiceOptions options_;
  InstalledCapture capture_;
  Fd claim_;
  Fd dns_claim_;
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<net::CertificateFiles> certificate_;
  std::optional<net::MemoryTrim> trim_;
  std::mutex redirector_mutex_;  ///< its existence, asked for by stats() from other threads
  std::unique_ptr<Redirector> redirector_;
  std::shared_ptr<const Routes> routes_;
  std::atomic<std::uint64_t> generation_ = 0;  ///< of the table that workers and rules follow
  net::Loop::Timer retry_;
  net::Loop::Timer expiry_;
  Fd signals_;
  std::unique_ptr<net::Interest> signal_interest_;
  std::optional<Child> child_;
  std::unique_ptr<net::Interest> child_interest_;
  int exit_code_ = 0;
};

/// Stops a running redirector and removes its rules; without a port, all redirectors' rules in this network namespace.
/// Done as well if there is nothing.
[[nodiscard]] Result<> uninstall(std::optional<std::uint16_t> listen_port, const std::string& state_dir);

}  // namespace epif::redirect
