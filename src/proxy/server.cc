#include "proxy/server.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "net/descriptors.h"
#include "net/handover.h"
#include "net/memory_trim.h"
#include "net/mptcp_paths.h"
#include "net/unix_socket.h"
#include "proxy/admin.h"
#include "proxy/limit_metrics.h"
#include "proxy/routes_file.h"
#include "proxy/succession.h"
#include "proxy/team.h"

namespace epif::proxy {
namespace {

using std::chrono::milliseconds;

std::uint64_t open_descriptors() {
  std::error_code failure;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", failure), end; !failure && entry != end; entry.increment(failure)) {
    ++count;
  }
  return count;
}

sigset_t watched_signals() {
  sigset_t watched;
  sigemptyset(&watched);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&watched, number);
  return watched;
}

/// Where a proxy with this admin socket hands over.
std::string handover_path(const std::string& admin_path) { return admin_path + ".handover"; }

/// A successor takes the name from its predecessor, who lives.
Result<Fd> socket_at(const std::string& path, int type, bool replace) {
  return replace ? net::succeed_unix(path, type) : net::listen_unix(path, type);
}

Dialect dialect_at(const Settings& settings, const SocketAddress& at) {
  const bool named = std::ranges::find(settings.socksx, at) != settings.socksx.end();
  return settings.socksx_everywhere || named ? Dialect::socksx : Dialect::draft;
}

/// The proxy on its control thread: signals, routes file, admin socket. The bytes run on the team's threads.
class Server {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Server>> make(Settings settings);
  [[nodiscard]] Result<> run();

 private:
  Server(std::unique_ptr<net::Loop> loop, net::Limiter::Limits limits)
      : loop_(std::move(loop)), shared_{.limiter = net::Limiter(limits)}, succession_(*loop_, shared_) {}
  [[nodiscard]] Result<> prepare(Settings& settings);
  [[nodiscard]] Result<> prepare_secrets(Settings& settings);
  [[nodiscard]] Result<> listen(const Settings& settings);
  [[nodiscard]] net::Task<Admin::Answer> answer(std::string path);
  static net::Task<void> follow_signals(Server& self);
  static net::Task<void> drain(Server& self, milliseconds patience);
  [[nodiscard]] Result<> inherit(const Settings& settings);
  [[nodiscard]] Result<> open_admin(const Settings& settings);
  [[nodiscard]] Result<> listen_at(const Settings& settings, const SocketAddress& at, Worker::Listener kind);
  [[nodiscard]] Result<std::unique_ptr<RoutesFile>> open_routes(const std::filesystem::path& file);
  [[nodiscard]] Result<> listen_for_admin(const std::string& path, bool replace);
  void take_admin_back();
  void step_aside(std::string_view routes);
  /// The successor is to stop, and so is this process: what still drains has as long as what serves.
  void stop_soon();
  void follow(const std::filesystem::path& file);

  std::unique_ptr<net::Loop> loop_;
  Shared shared_;
  std::unique_ptr<CertificateFiles> certificate_;
  std::optional<net::MemoryTrim> trim_;
  std::optional<net::MptcpPaths> paths_;
  std::unique_ptr<RoutesFile> routes_;
  std::unique_ptr<Team> team_;
  std::unique_ptr<Admin> admin_;
  std::string admin_path_;
  std::uint64_t admin_inode_ = 0;
  Fd successors_;  ///< where they ask, until succession_ holds it
  Succession succession_;
  net::TimePoint drain_until_{};
  Fd signals_;
  std::unique_ptr<net::Interest> signal_interest_;
  unsigned stop_signals_ = 0;
  unsigned enough_signals_ = 2;  ///< the first asks to drain, the second to cut; one does after a hand-over
  bool draining_ = false;
  bool over_ = false;  ///< drained
};

Result<std::unique_ptr<Server>> Server::make(Settings settings) {
  const auto or_default = [](auto wish, auto otherwise) { return wish != 0 ? wish : otherwise; };
  net::Limiter::Limits most{or_default(settings.max_connections, net::connections_that_fit()),
                       or_default(settings.max_connections_per_source, limits::max_connections_per_source)};
  most.handshakes = or_default(settings.max_handshakes, most.handshakes);
  most.handshakes_per_source = or_default(settings.max_handshakes_per_source, most.handshakes_per_source);
  most.per_second = or_default(settings.max_rate, most.per_second);
  most.per_second_per_source = or_default(settings.max_rate_per_source, most.per_second_per_source);
  most.memory = or_default(settings.max_handshake_bytes, most.memory);
  most.memory_per_source = or_default(settings.max_handshake_bytes_per_source, most.memory_per_source);
  auto loop = net::Loop::make();
  if (!loop) return fail(std::move(loop.error()));
  std::unique_ptr<Server> server(new Server(std::move(*loop), most));
  auto prepared = server->prepare(settings);
  if (!prepared) return fail(std::move(prepared.error()));
  return server;
}

Result<> Server::prepare_secrets(Settings& settings) {
  shared_.allow_all = settings.allow_all;
  if (settings.bind_deadline_s != 0) shared_.bind_deadline = std::chrono::seconds(settings.bind_deadline_s);
  shared_.users = std::move(settings.users);
  shared_.name_servers = settings.name_servers;
  shared_.splice = settings.splice;
  shared_.turns = settings.turns;
  shared_.warm = settings.warm;
  shared_.multipath = settings.multipath;
  shared_.trunking = settings.trunk;
  const auto addresses = settings.admin.empty() ? std::string() : settings.admin + ".mptcp";
  if (settings.multipath) paths_.emplace(*loop_, net::MptcpPaths::End::listens, addresses, [this] {
    if (team_) team_->renew_ready();
  });
  if (paths_ && settings.take_over) paths_->leave();  // the predecessor's as well, until it has stepped aside
  if (settings.tls) {
    auto files = CertificateFiles::open(*loop_, *settings.tls, [this](const Certified& renewed) {
      if (team_) team_->renew(renewed);
    });
    if (!files) return fail(std::move(files.error()));
    certificate_ = std::move(*files);
    trim_.emplace(*loop_, [this] { return certificate_->handshakes(); });
  }
  if (settings.hpke_key) {
    auto keys = hpke::KeyPair::load(*settings.hpke_key);
    if (!keys) return fail(std::move(keys.error()));
    shared_.keys = std::move(*keys);
  }
  return {};
}

Result<> Server::prepare(Settings& settings) {
  const auto watched = watched_signals();
  signals_ = Fd(::signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_) return fail(system_error(errno, "cannot watch signals"));

  auto secrets = prepare_secrets(settings);
  if (!secrets) return secrets;
  auto routing = Routing::of({});
  if (settings.routes) {
    auto routes = open_routes(*settings.routes);
    if (!routes) return fail(std::move(routes.error()));
    routes_ = std::move(*routes);
    routing = routes_->routing();
  }
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const auto certified = certificate_ ? certificate_->certified() : Certified{};
  auto team = Team::make(settings.threads != 0 ? settings.threads : cores, shared_, certified, routing);
  if (!team) return fail(std::move(team.error()));
  team_ = std::move(*team);
  auto inherited = inherit(settings);
  if (!inherited) return inherited;
  return listen(settings);
}

Result<> Server::inherit(const Settings& settings) {
  if (!settings.take_over) return {};
  auto sockets = succession_.inherit(handover_path(settings.admin));
  if (!sockets) return fail(std::move(sockets.error()));
  return team_->inherit(std::move(*sockets));
}

Result<> Server::listen_for_admin(const std::string& path, bool replace) {
  auto listener = socket_at(path, SOCK_STREAM, replace);
  if (!listener) return fail(std::move(listener.error()));
  admin_path_ = path;
  admin_inode_ = net::inode_of(admin_path_);
  admin_ = std::make_unique<Admin>(*loop_, std::move(*listener), [this](std::string asked) { return answer(std::move(asked)); });
  return {};
}

Result<> Server::open_admin(const Settings& settings) {
  if (settings.admin.empty()) return {};
  auto listens = listen_for_admin(settings.admin, settings.take_over);
  if (!listens) return listens;
  auto successors = socket_at(handover_path(settings.admin), SOCK_SEQPACKET, settings.take_over);
  if (!successors) return fail(std::move(successors.error()));
  successors_ = std::move(*successors);
  return {};
}

/// A successor may have put its own socket under the name before it failed.
void Server::take_admin_back() {
  if (draining_ || net::inode_of(admin_path_) == admin_inode_) return;
  auto back = listen_for_admin(admin_path_, true);
  if (!back) log::error("proxy", back.error());
}

Result<std::unique_ptr<RoutesFile>> Server::open_routes(const std::filesystem::path& file) {
  return RoutesFile::open(*loop_, file, [this](std::shared_ptr<const Routing> table) {
    if (team_) team_->adopt(table);
  });
}

/// What drains here obeys the successor's routes: what is withdrawn there ends here, too.
void Server::follow(const std::filesystem::path& file) {
  if (!routes_ || file.empty() || file == routes_->file()) return;
  routes_->follow(file);
}

void Server::step_aside(std::string_view routes) {
  if (draining_) return;
  draining_ = true;
  enough_signals_ = 1;
  follow(routes);
  if (routes_) routes_->fail_closed_after(milliseconds(limits::unread_routes_ms));
  net::show_draining();
  if (paths_) paths_->leave();
  team_->hand_over(*loop_, [this](MovedFlows moved) { succession_.give(std::move(moved)); });
  net::spawn(drain(*this, std::chrono::seconds(limits::handover_drain_s)));
}

void Server::stop_soon() {
  drain_until_ = std::min(drain_until_, net::Clock::now() + milliseconds(limits::drain_deadline_ms));
  succession_.dismiss_predecessor();
  team_->keep_flows();
}

Result<> Server::listen_at(const Settings& settings, const SocketAddress& at, Worker::Listener kind) {
  auto bound = team_->listen(at, kind, dialect_at(settings, at));
  if (!bound) return fail(std::move(bound.error()));
  const bool clear = kind == Worker::Listener::clear;
  log::info("proxy", "listening", {{"address", bound->text()}, {"protocols", clear ? "socks4,socks4a,socks5,socks6" : "tls1.3"}});
  return {};
}

Result<> Server::listen(const Settings& settings) {
  // What can fail comes first: on inherited sockets connections arrive at once, and a failure would lose them.
  for (const bool inherited : {false, true}) {
    for (const auto& at : settings.listen) {
      if (team_->inherits(at) != inherited) continue;
      auto listens = listen_at(settings, at, Worker::Listener::clear);
      if (!listens) return listens;
    }
    if (settings.tls_listen && team_->inherits(*settings.tls_listen) == inherited) {
      auto listens = listen_at(settings, *settings.tls_listen, Worker::Listener::tls);
      if (!listens) return listens;
    }
    if (inherited) break;
    auto opened = open_admin(settings);
    if (!opened) return opened;
  }
  if (successors_) {
    succession_.offer(std::move(successors_), handover_path(settings.admin), team_->take_copies(), *team_,
                      {.serving = [this](std::string_view routes) { step_aside(routes); },
                       .abandoned = [this] { take_admin_back(); },
                       .dismissed = [this] { stop_soon(); },
                       .gone = [this] { team_->keep_flows(); }});
  }
  return {};
}

net::Task<Admin::Answer> Server::answer(std::string path) {
  const auto table = routes_ ? routes_->state() : TableState{};
  if (path == "/healthz") {
    co_return Admin::Answer{200, "text/plain; charset=utf-8", table.last_error.empty() ? "ok\n" : "ok, routes stale: " + table.last_error + "\n"};
  }
  if (path != "/metrics" && path != "/flows") {
    co_return Admin::Answer{404, "text/plain; charset=utf-8", "there are /metrics, /flows and /healthz\n"};
  }
  auto snapshot = co_await team_->gather(*loop_);
  if (path == "/flows") co_return Admin::Answer{200, "application/json", print_flows(snapshot)};
  const Limited limited{shared_.limiter, shared_.associations, shared_.next_associations, shared_.sessions, shared_.bind_deadline, shared_.warm};
  co_return Admin::Answer{200, "text/plain; version=0.0.4; charset=utf-8", print_metrics(snapshot, table, open_descriptors()) + print_limits(limited)};
}

net::Task<void> Server::follow_signals(Server& self) {
  for (;;) {
    auto ready = co_await self.signal_interest_->readable();
    if (!ready) co_return;
    signalfd_siginfo info{};
    while (::read(self.signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGHUP) {
        if (self.certificate_) self.certificate_->reload();
        if (self.routes_) self.routes_->reload();
        continue;
      }
      ++self.stop_signals_;
      if (!self.draining_) {
        self.draining_ = true;
        self.succession_.dismiss_predecessor();
        self.team_->stop_accepting();
        net::spawn(drain(self, milliseconds(limits::drain_deadline_ms)));
      }
    }
    self.signal_interest_->drained_read();
  }
}

net::Task<void> Server::drain(Server& self, milliseconds patience) {
  log::info("proxy", "stopping", {{"connections", std::to_string(self.shared_.limiter.total())}});
  self.succession_.close();
  self.drain_until_ = net::Clock::now() + patience;
  // Asked behind the word to accept no more: when all workers have answered, what they accepted before it is counted.
  auto told = co_await self.team_->gather(*self.loop_);
  static_cast<void>(told);
  constexpr milliseconds look{20};
  // A predecessor's flows go through here to the successor.
  const auto busy = [&self] {
    return self.shared_.limiter.total() > 0 || (self.enough_signals_ == 1 && self.succession_.has_predecessor());
  };
  while (busy() && net::Clock::now() < self.drain_until_ && self.stop_signals_ < self.enough_signals_) co_await self.loop_->sleep(look);
  const auto left = self.shared_.limiter.total();
  if (left > 0) log::warn("proxy", "cutting flows that did not end in time", {{"connections", std::to_string(left)}});
  const Error why{Code::limit, "the proxy stops"};
  const auto cut = [&self, look](void (Team::*those)(const Error&), const Error& reason) -> net::Task<void> {
    (self.team_.get()->*those)(reason);
    const auto last = net::Clock::now() + milliseconds(limits::cut_deadline_ms);
    while (self.shared_.limiter.total() > 0 && net::Clock::now() < last) co_await self.loop_->sleep(look);
  };
  co_await cut(&Team::cut_staying, why);  // others may leave then
  co_await cut(&Team::cut_all, why);
  // What has left has been told to this thread before its place was free: it is here when all threads have answered.
  auto last_told = co_await self.team_->gather(*self.loop_);
  static_cast<void>(last_told);
  while (self.succession_.giving()) co_await self.loop_->sleep(look);
  self.over_ = true;
  self.loop_->stop();
}

Result<> Server::run() {
  signal_interest_ = std::make_unique<net::Interest>(*loop_, signals_.get());
  net::spawn(follow_signals(*this));
  auto serves = succession_.serve(*team_, routes_ ? routes_->file().string() : std::string());
  if (serves) team_->hear_inherited();
  team_->start();
  if (serves) {
    if (paths_) paths_->stay();
    log::info("proxy", "ready", {{"max_connections", std::to_string(net::connections_that_fit())}});
  } else if (!std::exchange(draining_, true)) {
    net::spawn(drain(*this, milliseconds(0)));
  }
  if (!over_) loop_->run();
  team_->stop();
  admin_.reset();
  paths_.reset();
  routes_.reset();
  certificate_.reset();
  net::unlink_own(admin_path_, admin_inode_);  // a successor has its own under this name
  signal_interest_->fail({Code::internal, "the proxy has stopped"});
  loop_->run_once(milliseconds(0));
  const bool clean = shared_.limiter.total() == 0;
  log::info("proxy", "stopped");
  // A flow that did not end within its deadline still holds its worker: the kernel frees it better than we can.
  if (!clean && serves) std::_Exit(0);
  return serves;
}

}  // namespace

Result<> serve(Settings settings) {
  const auto watched = watched_signals();
  ::pthread_sigmask(SIG_BLOCK, &watched, nullptr);  // before the first thread: all inherit it
  ::signal(SIGPIPE, SIG_IGN);
  auto server = Server::make(std::move(settings));
  if (!server) return fail(std::move(server.error()));
  return (*server)->run();
}

}  // namespace epif::proxy
