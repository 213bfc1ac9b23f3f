#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "net/certificate_files.h"
#include "net/file_watch.h"
#include "net/links.h"
#include "net/memory_trim.h"
#include "net/mptcp_paths.h"
#include "net/nft_watch.h"
#include "redirect/command.h"
#include "redirect/forwarded_handover.h"
#include "redirect/installed_capture.h"
#include "redirect/redirector.h"

/// A redirector with its rules, from start to a clean stop: what `epif redirect` runs.
namespace epif::redirect {

struct ServiceOptions {
  Settings settings;                     ///< its `tls` comes from `certificate`
  std::optional<net::TlsFiles> certificate;  ///< read again when renewed; absent: all legs in clear
  std::vector<CaptureTarget> capture;    ///< captured besides the routes' destinations
  std::vector<CaptureTarget> excluded;   ///< neither captured nor guarded
  std::vector<std::string> excluded_users;    ///< whose programs are left alone: names or numbers
  std::vector<std::string> excluded_cgroups;  ///< below the hierarchy's root
  bool gateway = false;                  ///< take what the node forwards, too
  bool untracked = false;                ///< own connections stay out of connection tracking
  bool dns = false;                      ///< capture DNS; routes with names ask for it as well
  std::vector<std::pair<std::string, IpAddress>> names;  ///< standalone use: DNS answers the address, the proxy is asked for the name
  RouteSelector selector;                ///< standalone use: whose traffic is carried; all other is refused
  std::optional<SocketAddress> proxy;    ///< standalone use: everything goes there
  Identity proxy_identity;               ///< what the proxy's certificate must name; empty: any of the authority
  std::string routes_file;               ///< managed use: followed while it changes; empty: standalone
  std::string state_dir = "/run/epif";
  bool connect_hook = true;              ///< lead connections to known destinations in connect() itself, where the kernel lets
  bool take_over = false;                ///< from the redirector that runs on this port: its sockets and rules, without a lost flow
  std::uint32_t drain_s = limits::handover_drain_s;  ///< what that one carries may go on this long
  std::vector<std::string> command;      ///< --exec; empty: run until SIGINT or SIGTERM
  std::string command_user;
};

class Service {
 public:
  /// Claims the port, reads the routes, binds, installs the rules: in this order, so that a failure leaves nothing behind
  /// and the rules stand before anything that they guard. With take_over it has the predecessor's claim and sockets in hand
  /// and its own rules in force, and that one serves until take_place(). Blocks SIGINT and SIGTERM for this thread and those
  /// it starts.
  [[nodiscard]] static Result<std::unique_ptr<Service>> start(ServiceOptions options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Starts the command, serves until it ends or a signal asks to stop, cuts all flows and removes the rules. Gives the
  /// command's exit code, otherwise 0.
  [[nodiscard]] Result<int> run();
  /// Before run(), and after all else that may fail: serves in the predecessor's place, if there is one, and offers a
  /// successor the same.
  [[nodiscard]] Result<> take_place();
  /// Instead of run(): ends without having served, and removes the rules, or leaves them to whom they were.
  void abandon();
  /// Any thread.
  [[nodiscard]] Stats stats(bool with_flows);
  /// Generation of the routes that all threads follow and whose rules are installed. Any thread.
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  /// False while others' change of the rules could not be put right. Any thread.
  [[nodiscard]] bool guarded() const { return guarded_; }

 private:
  enum class Stage {
    serving,
    asked,        ///< a successor prepares: rules are not touched
    handed_over,  ///< it serves, the rules are its; what is carried here goes on to its end
  };
  explicit Service(ServiceOptions options);
  [[nodiscard]] Result<> claim_ports();
  [[nodiscard]] Result<> inherit();
  [[nodiscard]] Result<> prepare();
  void make_stand_ins();
  /// Sees changes of the routes file, of devices and, by others, of the rules from now on; they are followed once this one is in place.
  [[nodiscard]] Result<> watch();
  void offer();
  void resume();
  void step_aside(std::string_view words);
  void drain(net::TimePoint deadline);
  void hear_limits();
  net::Task<void> follow_predecessor();
  [[nodiscard]] Result<> read_certificate();
  [[nodiscard]] Result<> serve();
  [[nodiscard]] Result<Routes> load() const;
  void apply(Routes routes);
  void follow_cgroups();
  void settle();  ///< brings the rules in line with the routes; tries again later if that fails
  [[nodiscard]] Result<> install(const Routes& routes, bool with_old_own);
  [[nodiscard]] Result<> restore(bool changed);  ///< after InstalledCapture::restore()
  void reload();
  void expect_routes();
  net::Task<void> watch_signals();
  net::Task<void> watch_command();
  void finish(int code);

  ServiceOptions options_;
  InstalledCapture capture_;
  Fd claim_;
  Fd dns_claim_;
  Fd draining_claim_;  ///< once handed over
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<net::CertificateFiles> certificate_;
  std::optional<net::MemoryTrim> trim_;
  std::optional<net::MptcpPaths> paths_;
  std::mutex redirector_mutex_;  ///< its existence, asked for by stats() from other threads
  std::unique_ptr<Redirector> redirector_;
  std::shared_ptr<const Routes> routes_;
  std::atomic<std::uint64_t> generation_ = 0;  ///< of the table that workers and rules follow
  std::atomic<std::uint64_t> restored_ = 0;
  std::atomic<bool> guarded_ = true;
  net::Loop::Timer retry_;
  net::Loop::Timer expiry_;
  bool altered_ = false;    ///< somebody else changed the rules before this process served
  bool unread_ = false;     ///< the routes file cannot be read since it was changed last
  net::Loop::Timer blind_;  ///< armed while it cannot, and this process only drains
  net::Loop::Timer cgroups_look_;
  ExcludedPrograms programs_;
  Fd signals_;
  std::unique_ptr<net::Interest> signal_interest_;
  std::unique_ptr<net::FileWatch> file_watch_;
  std::unique_ptr<net::LinkWatch> link_watch_;
  std::unique_ptr<net::NftWatch> nft_watch_;
  bool in_place_ = false;
  Stage stage_ = Stage::serving;
  bool dismissed_ = false;  ///< the successor was asked to stop, and means this one, too
  std::vector<Sockets> inherited_;                  ///< until take_place()
  std::vector<net::Handed> inherited_things_;       ///< what else may be of use
  std::vector<CaptureTarget> predecessors_own_;     ///< where its flows go: open as long as it lives
  std::vector<CaptureTarget> predecessors_own_datagrams_;
  std::unique_ptr<net::SeqPacket> predecessor_;
  bool predecessor_tells_ = false;  ///< what forwarded hosts hold there
  bool predecessor_gone_ = false;
  std::optional<ForwardedHearing> hearing_;
  std::optional<ForwardedTelling> telling_;
  std::unique_ptr<net::Handover> handover_;
  std::optional<Child> child_;
  std::unique_ptr<net::Interest> child_interest_;
  int exit_code_ = 0;
  bool finished_ = false;  ///< perhaps before it served
};

/// Stops a running redirector and removes its rules; without a port, all redirectors' rules in this network namespace.
/// Done as well if there is nothing.
[[nodiscard]] Result<> uninstall(std::optional<std::uint16_t> listen_port, const std::string& state_dir);

}  // namespace epif::redirect
