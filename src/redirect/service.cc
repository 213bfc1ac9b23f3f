#include "redirect/service.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <charconv>
#include <fstream>
#include <iterator>

#include "base/log.h"
#include "net/nft.h"
#include "redirect/running.h"

namespace epif::redirect {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

std::chrono::sys_seconds wall_now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(system_error(errno, "cannot read the routes", path));
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.size() > limits::routes_file_max_bytes) return fail(Code::limit, "the routes file is too large", path);
  return text;
}

}  // namespace

Service::Service(ServiceOptions options)
    : options_(std::move(options)), capture_(options_.settings.listen_port, options_.state_dir) {
  options_.settings.excluded = options_.excluded;
}

Service::~Service() = default;

Result<Routes> Service::load() const {
  if (options_.routes_file.empty()) {
    auto routes = Routes::to_one_proxy({options_.capture, options_.names, options_.selector, *options_.proxy, options_.proxy_identity, options_.settings.fast_open});
    auto table = routes.table();
    if (const auto unknown = resolve_users(table); !unknown.empty()) {
      return fail(Code::not_found, "this node has no such user", unknown.front());
    }
    return Routes(std::move(table));
  }
  auto text = read_file(options_.routes_file);
  if (!text) return fail(std::move(text.error()));
  auto table = parse_routes(*text, options_.routes_file);
  if (!table) return fail(std::move(table.error()));
  for (const auto& route : table->routes) {
    if (route.next && !route.next->identity.empty() && !options_.settings.tls) {
      return fail(Code::invalid_input, "the route wants TLS to the proxy", options_.routes_file, route.id,
                  "give --cert, --key and --ca");
    }
  }
  for (const auto& user : resolve_users(*table)) {
    log::warn("redirect", "a route is for a user that this node does not have", {{"user", user}, {"file", options_.routes_file}});
  }
  return Routes(std::move(*table));
}

Result<> Service::install(const Routes& routes, bool with_old_own) {
  InstalledCapture::Wish wish;
  wish.targets = routes.targets();
  wish.targets.insert(wish.targets.end(), options_.capture.begin(), options_.capture.end());
  const auto now = wall_now();
  wish.mark = options_.settings.mark;
  wish.own = routes.own(now);
  wish.own_datagrams = routes.own_datagrams(options_.settings.socks == 5, now);
  for (const auto& [name, aliases] : routes.names()) {
    for (const auto& alias : aliases) wish.names.emplace_back(name, alias);
    if (aliases.empty()) wish.names.emplace_back(name, IpAddress());  // nobody else is to be asked for it
  }
  wish.excluded = options_.excluded;
  wish.programs = programs_;
  wish.gateway = options_.gateway;
  wish.stand_ins = options_.settings.stand_ins != nullptr;
  wish.untracked = options_.untracked;
  wish.diversions = routes.diversions(now);
  // Once there were names, DNS stays captured: an answer that a program has kept must not be asked for elsewhere.
  const auto& old = capture_.rules();
  if (options_.dns || routes.has_names() || old.dns_port != 0) wish.dns_port = options_.settings.dns_port;
  wish.own.insert(wish.own.end(), predecessors_own_.begin(), predecessors_own_.end());
  wish.own_datagrams.insert(wish.own_datagrams.end(), predecessors_own_datagrams_.begin(), predecessors_own_datagrams_.end());
  if (with_old_own) {
    wish.own.insert(wish.own.end(), old.own.begin(), old.own.end());
    wish.own_datagrams.insert(wish.own_datagrams.end(), old.own_datagrams.begin(), old.own_datagrams.end());
  }
  auto installed = capture_.install(std::move(wish));
  if (options_.settings.stand_ins) options_.settings.stand_ins->follow(capture_.rules());
  return installed;
}

Result<std::unique_ptr<Service>> Service::start(ServiceOptions options) {
  std::unique_ptr<Service> service(new Service(std::move(options)));
  // Asked first: without the right to change rules nothing else needs to begin.
  auto allowed = net::nft_tables(table_prefix);
  if (!allowed) return fail(std::move(allowed.error()));
  auto programs = find_programs(service->options_.excluded_users, service->options_.excluded_cgroups);
  if (!programs) return fail(std::move(programs.error()));
  service->programs_ = std::move(*programs);
  const auto set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  service->signals_ = Fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!service->signals_) return fail(system_error(errno, "cannot watch signals"));
  auto loop = net::Loop::make();
  if (!loop) return fail(std::move(loop.error()));
  service->loop_ = std::move(*loop);
  auto claimed = service->options_.take_over ? service->inherit() : service->claim_ports();
  if (!claimed) return fail(std::move(claimed.error()));
  auto prepared = service->prepare();
  if (!prepared) return fail(std::move(prepared.error()));
  return service;
}

Result<> Service::claim_ports() {
  auto claimed = claim(options_.settings.listen_port);
  if (!claimed) return fail(std::move(claimed.error()));
  claim_ = std::move(*claimed);
  if (const auto dns_port = options_.settings.dns_port; dns_port != 0) {
    auto claimed_dns = claim(dns_port);
    if (!claimed_dns) return fail(std::move(claimed_dns.error()));
    dns_claim_ = std::move(*claimed_dns);
  }
  auto& threads = options_.settings.threads;
  if (threads == 0) threads = usual_threads();
  return {};
}

Result<> Service::prepare() {
  auto certified = read_certificate();
  if (!certified) return certified;
  if (auto before = capture_.recall(); !before) return before;
  if (options_.take_over && !capture_.adopted()) {
    return fail(Code::conflict, "the running redirector has no rules in force", options_.state_dir, {}, "start without --take-over");
  }
  // Under rules that are in force, only their own mark reaches a proxy.
  options_.settings.mark = capture_.adopted() ? capture_.rules().mark : random_mark();
  if (options_.settings.multipath) {
    paths_.emplace(*loop_, net::MptcpPaths::End::connects, capture_.state_file(".mptcp"), [this] {
      if (redirector_) redirector_->renew_ready();
    });
  }
  if (paths_ && options_.take_over) paths_->leave();  // the predecessor's as well, until it has stepped aside
  auto routes = load();
  if (!routes) return fail(std::move(routes.error()));
  routes->keep_names(capture_.rules().names);
  routes_ = std::make_shared<const Routes>(std::move(*routes));
  make_stand_ins();
  if (!options_.take_over) {
    auto redirector = Redirector::start(options_.settings, routes_);
    if (!redirector) return fail(std::move(redirector.error()));
    redirector_ = std::move(*redirector);
  }
  auto installed = install(*routes_, false);
  if (installed) generation_ = routes_->table().generation;
  return installed;
}

Result<> Service::read_certificate() {
  if (!options_.certificate) return {};
  auto files = net::CertificateFiles::open(*loop_, *options_.certificate, [this](const net::Certified& renewed) {
    options_.settings.tls = renewed.client;
    if (redirector_) redirector_->renew(renewed.client);
  });
  if (!files) return fail(std::move(files.error()));
  certificate_ = std::move(*files);
  options_.settings.tls = certificate_->certified().client;
  trim_.emplace(*loop_, [this] { return certificate_->handshakes(); });
  return {};
}

void Service::apply(Routes routes) {
  routes.keep_names(capture_.rules().names);
  routes_ = std::make_shared<const Routes>(std::move(routes));
  if (stage_ != Stage::serving) return redirector_->apply(routes_);  // revoked flows are cut; the rules are the successor's
  // Three steps without an open moment: capture more and let both old and new proxies be reached; switch the workers, which
  // cuts what lost its permit; forget the old proxies. Whether or not the rules could be changed, what was revoked is cut.
  if (auto wider = install(*routes_, true); !wider) log::error("redirect", wider.error());
  redirector_->apply(routes_);
  settle();
}

void Service::settle() {
  if (stage_ != Stage::serving) return;
  auto installed = install(*routes_, false);
  if (installed) installed = restore(false);
  if (installed) installed = capture_.follow_devices();
  if (!installed) {
    log::error("redirect", installed.error(), {{"next", "another attempt"}});
    retry_ = loop_->after(std::chrono::milliseconds(limits::reconcile_interval_ms), [this] { settle(); });
    return;
  }
  retry_.cancel();
  // Workers end what expires themselves; what NGINX carries passes none of them, and the way of a direct route is to be shut.
  if (const auto end = routes_->next_expiry(wall_now())) {
    const auto wait = std::clamp<std::chrono::seconds>(*end - wall_now(), std::chrono::seconds(1), std::chrono::hours(1));
    expiry_ = loop_->after(wait, [this] { settle(); });
  }
  generation_ = routes_->table().generation;
  log::info("redirect", "routes applied", {{"generation", fmt::format("{}", routes_->table().generation)},
                                           {"routes", fmt::format("{}", routes_->table().routes.size())}});
}

Result<> Service::restore(bool changed) {
  auto restored = capture_.restore(changed);
  guarded_ = restored.has_value();
  if (!restored) return fail(std::move(restored.error()));
  if (!*restored) return {};
  ++restored_;
  log::warn("redirect", "somebody else removed or changed the rules; they are in force again",
            {{"table", table_name(options_.settings.listen_port)}, {"times", fmt::format("{}", restored_.load())}});
  return {};
}

/// No event tells of them all: a service that starts again has a new cgroup under its old name.
void Service::follow_cgroups() {
  if (programs_.cgroups.empty() || stage_ == Stage::handed_over) return;
  if (stage_ == Stage::serving && programs_.look_again()) {
    for (const auto& cgroup : programs_.cgroups) {
      if (cgroup.number == 0) log::warn("redirect", "an excluded cgroup is gone; nobody is in it", {{"cgroup", cgroup.name}});
    }
    if (options_.settings.stand_ins) options_.settings.stand_ins->exclude(programs_);
    settle();
  }
  cgroups_look_ = loop_->after(std::chrono::milliseconds(limits::reconcile_interval_ms), [this] { follow_cgroups(); });
}

void Service::reload() {
  auto routes = load();
  unread_ = !routes.has_value();
  if (!routes) {
    log::error("redirect", routes.error(), {{"kept", fmt::format("generation {}", routes_->table().generation)}});
    return expect_routes();
  }
  blind_.cancel();
  if (routes->table() == routes_->table()) return;
  apply(std::move(*routes));
}

net::Task<void> Service::watch_signals() {
  for (;;) {
    auto ready = co_await signal_interest_->readable();
    if (!ready) co_return;
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (child_) {
        // The command decides when it ends. Ctrl-C reached it already, since it shares our terminal.
        if (info.ssi_signo != SIGINT || info.ssi_pid != 0) kill(child_->pid, static_cast<int>(info.ssi_signo));
      } else {
        finish(0);
      }
    }
    signal_interest_->drained_read();
  }
}

net::Task<void> Service::watch_command() {
  for (;;) {
    auto ready = co_await child_interest_->readable();
    if (!ready) co_return;
    if (const auto code = exit_code(*child_)) {
      finish(*code);
      co_return;
    }
    child_interest_->drained_read();
  }
}

void Service::finish(int code) {
  exit_code_ = code;
  finished_ = true;
  loop_->stop();
}

Stats Service::stats(bool with_flows) {
  const std::lock_guard lock(redirector_mutex_);
  auto stats = redirector_ ? redirector_->stats(with_flows) : Stats{};
  stats.rules_restored = restored_;
  return stats;
}

Result<> Service::watch() {
  if (!options_.routes_file.empty()) {
    auto watched = net::FileWatch::start(*loop_, options_.routes_file, [this] {
      if (in_place_) reload();
    });
    if (!watched) return fail(std::move(watched.error()));
    file_watch_ = std::move(*watched);
  }
  auto watched = net::LinkWatch::start(*loop_, [this] {
    if (!in_place_) return;
    if (stage_ == Stage::serving && !capture_.follow_devices()) settle();
    if (options_.settings.stand_ins) options_.settings.stand_ins->forget_if_addresses_changed();
  }, net::LinkWatch::Of::addresses);
  if (!watched) return fail(std::move(watched.error()));
  link_watch_ = std::move(*watched);
  auto rules = net::NftWatch::start(*loop_, table_name(options_.settings.listen_port), [this](bool changed) {
    // A successor that prepares changes them rightfully, and one that serves looks after them itself.
    if (!in_place_) altered_ = altered_ || changed;
    if (!in_place_ || stage_ != Stage::serving) return;
    if (auto back = restore(changed); !back) settle();
  });
  if (!rules) return fail(std::move(rules.error()));
  nft_watch_ = std::move(*rules);
  return {};
}

Result<> Service::serve() {
  in_place_ = true;
  if (file_watch_) reload();  // a change since the first reading
  // From here on it serves: what fails now is tried again, and the rules stand meanwhile. Timers run as well.
  // A successor may have come before: then the rules are its, or it prepares them.
  const bool rules_are_ours = stage_ == Stage::serving;
  if (rules_are_ours && (!restore(altered_) || !capture_.follow_devices() || routes_->next_expiry(wall_now()) || predecessor_gone_)) settle();
  follow_cgroups();
  signal_interest_ = std::make_unique<net::Interest>(*loop_, signals_.get());
  net::spawn(watch_signals());
  if (!options_.command.empty()) {
    auto child = start_command(options_.command, options_.command_user);
    if (!child) return fail(std::move(child.error()));
    child_ = std::move(*child);
    child_interest_ = std::make_unique<net::Interest>(*loop_, child_->process.get());
    net::spawn(watch_command());
  }
  if (!finished_) loop_->run();
  retry_.cancel();
  expiry_.cancel();
  cgroups_look_.cancel();
  return {};
}

void Service::abandon() {
  if (options_.settings.stand_ins) options_.settings.stand_ins->end();
  redirector_.reset();
  if (capture_.adopted()) return;
  auto removed = capture_.remove();
  if (!removed) log::error("redirect", removed.error());
}

Result<int> Service::run() {
  auto served = serve();
  file_watch_.reset();
  link_watch_.reset();
  nft_watch_.reset();
  for (auto* interest : {signal_interest_.get(), child_interest_.get()}) {
    if (interest != nullptr) interest->fail({Code::internal, "the service ends"});
  }
  certificate_.reset();
  paths_.reset();
  if (telling_) telling_->end();
  handover_.reset();
  if (predecessor_) {
    // Who asks this one to stop means all that it carries, and what it carried as another process.
    if (stage_ == Stage::serving ? served.has_value() : dismissed_) net::dismiss(*predecessor_);
    predecessor_->abort({Code::internal, "the service ends"});
  }
  loop_->run_once(std::chrono::milliseconds(0));
  // Before the listeners go: none of the node's programs may hear in their place what is led there.
  if (options_.settings.stand_ins) options_.settings.stand_ins->end();
  {
    const std::lock_guard lock(redirector_mutex_);
    redirector_.reset();
  }
  if (stage_ != Stage::serving) return 0;  // the rules are the successor's, or about to be
  // A failed start must not open what an earlier redirector, killed without a word, still guards.
  if (!served && capture_.adopted()) return fail(std::move(served.error()));
  if (auto ended = stop_draining(options_.settings.listen_port); !ended) return fail(std::move(ended.error()));
  auto removed = capture_.remove();
  if (!served) return fail(std::move(served.error()));
  if (!removed) return fail(std::move(removed.error()));
  return exit_code_;
}

Result<> uninstall(std::optional<std::uint16_t> listen_port, const std::string& state_dir) {
  auto tables = net::nft_tables(table_prefix);
  if (!tables) return fail(std::move(tables.error()));
  std::vector<std::uint16_t> ports;
  if (listen_port) ports.push_back(*listen_port);
  for (const auto& table : *tables) {
    std::uint16_t port = 0;
    const auto text = std::string_view(table.name).substr(table_prefix.size());
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (failure == std::errc{} && end == text.data() + text.size() && !listen_port) ports.push_back(port);
  }
  if (!listen_port) {
    // Files whose rules are gone already: removed with another --state, or with the network namespace.
    for (const auto port : InstalledCapture::remembered(state_dir)) ports.push_back(port);
    std::ranges::sort(ports);
    const auto twice = std::ranges::unique(ports);
    ports.erase(twice.begin(), twice.end());
  }
  for (const auto port : ports) {
    auto stopped = stop_running(port);
    if (!stopped) return fail(std::move(stopped.error()));
    if (auto ended = stop_draining(port); !ended) return ended;
    InstalledCapture capture(port, state_dir);
    auto removed = capture.remove();
    if (!removed) return removed;
    net::remove_mptcp_paths(capture.state_file(".mptcp"));
  }
  return {};
}

}  // namespace epif::redirect
