#include "nginx/service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/limits.h"
#include "base/log.h"
#include "model/reverse_allowance.h"
#include "net/nft.h"
#include "net/tcp_table.h"
#include "nginx/gate.h"
#include "nginx/processes.h"

namespace epif::nginx {
namespace {

namespace fs = std::filesystem;

std::chrono::sys_seconds wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

Result<Fd> claim(const std::string& state) {
  std::error_code failure;
  fs::create_directories(state, failure);
  const auto path = state + "/lock";
  Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return fail(system_error(errno, "cannot open the lock of the state folder", path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::conflict, "another epif nginx works in this folder", state, {}, "stop it, or choose another --state");
  }
  return lock;
}

Result<std::string> absolute(const std::string& path) {
  std::error_code failure;
  fs::create_directories(path, failure);
  const auto real = fs::canonical(path, failure);  // processes are known by the kernel's name of their folder
  if (failure) return fail(Code::io, "cannot use the state folder", path, failure.message());
  return real.string();
}

std::vector<std::string> client_folders(const std::string& state) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(state, ignored)) {
    if (entry.is_directory(ignored)) names.push_back(entry.path().filename().string());
  }
  return names;
}

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

Service::~Service() = default;

Result<> Service::find_program() {
  program_.path = settings_.program;
  if (::access(program_.path.c_str(), X_OK) != 0) {
    return fail(Code::unsupported, "there is no NGINX", program_.path, {},
                "apt install nginx-light libnginx-mod-stream, or give --nginx");
  }
  constexpr auto module = "/usr/lib/nginx/modules/ngx_stream_module.so";
  if (::access(module, R_OK) == 0) program_.build.stream_module = module;
  program_.build.workers = std::clamp(std::thread::hardware_concurrency(), 1u, limits::nginx_workers);
  return {};
}

Result<std::unique_ptr<Service>> Service::start(Settings settings) {
  auto state = absolute(settings.state);
  if (!state) return fail(state.error());
  settings.state = std::move(*state);
  std::unique_ptr<Service> service(new Service(std::move(settings)));
  if (auto found = service->find_program(); !found) return fail(found.error());
  if (auto able = net::can_end_sockets(); !able) return fail(able.error());
  auto lock = claim(service->settings_.state);
  if (!lock) return fail(lock.error());
  service->lock_ = std::move(*lock);
  const auto set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  service->signals_ = Fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!service->signals_) return fail(system_error(errno, "cannot watch signals"));
  auto loop = net::Loop::make();
  if (!loop) return fail(loop.error());
  service->loop_ = std::move(*loop);
  if (auto loaded = service->load(); !loaded) return fail(loaded.error());
  return service;
}

Result<> Service::load() {
  std::ifstream file(settings_.routes, std::ios::binary);
  if (!file) return fail(Code::not_found, "cannot read the routes", settings_.routes);
  auto table = parse_routes(std::string((std::istreambuf_iterator<char>(file)), {}), settings_.routes);
  if (!table) return fail(table.error());
  table_ = std::move(*table);
  return {};
}

Instance& Service::instance(const std::string& folder) {
  auto& found = instances_[folder];
  if (!found) {
    // Not at once: the call may come out of the middle of follow().
    found = std::make_unique<Instance>(*loop_, settings_.state + "/" + folder, program_,
                                       [this] { noting_ = loop_->after(std::chrono::milliseconds(0), [this] { note(); }); });
  }
  return *found;
}

void Service::reload() {
  const auto before = table_;
  if (auto loaded = load(); !loaded) {
    log::error("nginx", loaded.error(), {{"kept", std::to_string(table_.generation)}});
    return;
  }
  if (table_ != before) follow();
}

void Service::follow() {
  retry_.cancel();
  const auto now = wall_now();
  wanted_.clear();
  for (auto& [client, routes] : served(table_, now)) wanted_[folder_name(client)] = std::move(routes);
  for (const auto& [folder, routes] : wanted_) static_cast<void>(instance(folder));
  const auto gated = set_gate();
  if (!gated) log::error("nginx", gated.error(), {{"next", "another attempt; every NGINX that serves too much is ended"}});
  for (auto at = instances_.begin(); at != instances_.end();) {
    const auto found = wanted_.find(at->first);
    const auto gone = withdrawn(at->second->may_serve(), found == wanted_.end() ? std::vector<Route>{} : found->second);
    cuts_ += gone.size();
    // Without a gate the old configuration would go on serving until the new one is in force.
    if (found == wanted_.end() || (!gated && !gone.empty())) {
      if (auto ended = at->second->end(); !ended) log::error("nginx", ended.error());
      at = instances_.erase(at);
    } else {
      at->second->want(found->second);
      ++at;
    }
  }
  if (!gated) retry_ = loop_->after(std::chrono::milliseconds(limits::reconcile_interval_ms), [this] { follow(); });
  if (const auto end = next_end(table_, now); end != std::chrono::sys_seconds{}) {
    const auto wait = std::clamp<std::chrono::seconds>(end - now, std::chrono::seconds(1), std::chrono::hours(1));
    expiry_ = loop_->after(wait, [this] { follow(); });
  }
  note();
}

Result<> Service::set_gate() {
  std::vector<Route> open;
  std::vector<SocketAddress> listening;
  for (const auto& [folder, instance] : instances_) {
    const auto found = wanted_.find(folder);
    const auto wanted = found == wanted_.end() ? std::vector<Route>{} : found->second;
    const auto gone = withdrawn(instance->may_serve(), wanted);
    for (const auto& route : instance->may_serve()) listening.push_back(route.nginx->listen);
    for (const auto& route : wanted) {
      // A port whose old server may still be behind it stays shut until NGINX has taken the new one.
      const bool turned =
          std::ranges::any_of(gone, [&](const Route& old) { return old.nginx->listen == route.nginx->listen; });
      if (turned)
        listening.push_back(route.nginx->listen);
      else
        open.push_back(route);
    }
  }
  auto script = gate_script(gate_name(settings_.state), open, listening);
  if (script == gate_) return {};
  auto done = net::run_nft(script);
  if (!done) return fail(done.error());
  gate_ = std::move(script);
  return {};
}

void Service::note() {
  if (auto gated = set_gate(); !gated && !retry_.armed()) {
    log::error("nginx", gated.error());
    retry_ = loop_->after(std::chrono::milliseconds(limits::reconcile_interval_ms), [this] { follow(); });
  }
  std::uint64_t unsettled = 0;
  std::uint64_t reloads = 0;
  for (const auto& [folder, instance] : instances_) {
    unsettled += instance->settled() ? 0 : 1;
    reloads += instance->reloads();
  }
  clients_ = instances_.size();
  unsettled_ = unsettled;
  reloads_ = reloads;
  if (unsettled != 0 || retry_.armed() || generation_ == table_.generation) return;
  generation_ = table_.generation;
  log::info("nginx", "routes applied",
            {{"generation", std::to_string(table_.generation)}, {"clients", std::to_string(instances_.size())}});
}

void Service::tick() {
  for (const auto& [folder, instance] : instances_) instance->check();
  count();
  tick_ = loop_->after(std::chrono::milliseconds(limits::nginx_count_ms), [this] { tick(); });
}

/// The direction without data: the kernel counts, we look.
void Service::count() {
  std::map<SocketAddress, std::pair<Instance*, const Route*>> limited;
  for (const auto& [folder, instance] : instances_) {
    for (const auto& route : instance->wanted()) {
      if (route.data != DataDirection::both) limited[route.nginx->listen] = {instance.get(), &route};
    }
  }
  if (limited.empty()) return;
  const auto table = net::tcp_table();
  if (!table) return log::error("nginx", table.error());
  std::map<Instance*, std::vector<Route>> over;
  for (const auto& entry : *table) {
    const auto found = limited.find(entry.local);
    if (found == limited.end() || entry.listens) continue;
    const auto& [instance, route] = found->second;
    const bool push = route->data == DataDirection::push;
    const auto forward = push ? entry.received : entry.acked;
    const auto reverse = push ? entry.acked : entry.received;
    if (reverse <= reverse_allowance(*route, forward)) continue;
    log::error("nginx", Error{Code::limit, "the direction without data carried too much; the flow is cut", route->flow,
                              std::to_string(reverse) + " bytes"});
    over[instance].push_back(*route);
  }
  for (const auto& [instance, routes] : over) {
    cuts_ += routes.size();
    instance->cut(routes);
  }
}

net::Task<void> Service::watch_signals() {
  for (;;) {
    auto ready = co_await signal_interest_->readable();
    if (!ready) co_return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) loop_->stop();
    signal_interest_->drained_read();
  }
}

void Service::adopt_folders() {
  for (const auto& folder : client_folders(settings_.state)) static_cast<void>(instance(folder));
}

Result<> Service::run() {
  auto watch = net::FileWatch::start(*loop_, settings_.routes, [this] { reload(); });
  if (!watch) return fail(watch.error());
  adopt_folders();
  if (auto loaded = load(); !loaded) return loaded;  // a change between the first reading and the watch
  follow();
  tick();
  signal_interest_ = std::make_unique<net::Interest>(*loop_, signals_.get());
  net::spawn(watch_signals());
  loop_->run();
  watch->reset();
  return take_down();
}

Result<> Service::take_down() {
  for (auto* timer : {&expiry_, &retry_, &tick_, &noting_}) timer->cancel();
  signal_interest_->fail({Code::internal, "the service ends"});
  wanted_.clear();
  Result<> first = set_gate();  // shut, before NGINX can end anything politely
  for (auto& [folder, instance] : instances_) {
    if (auto ended = instance->end(); !ended && first) first = std::move(ended);
  }
  noting_.cancel();
  instances_.clear();
  loop_->run_once(std::chrono::milliseconds(0));
  if (!first) return first;
  auto removed = net::run_nft(remove_gate_script(gate_name(settings_.state)));
  if (!removed) return fail(removed.error());
  std::error_code ignored;
  fs::remove_all(settings_.state, ignored);
  return {};
}

Stats Service::stats() const {
  return {generation_, clients_, reloads_, cuts_, unsettled_};
}

Result<> clean_up(const std::string& state) {
  std::error_code ignored;
  if (!fs::exists(state, ignored)) return {};
  auto folder = absolute(state);
  if (!folder) return fail(folder.error());
  auto lock = claim(*folder);
  if (!lock) return fail(lock.error());
  for (const auto& client : client_folders(*folder)) {
    if (auto ended = end_all(*folder + "/" + client); !ended) return ended;
  }
  auto removed = net::run_nft(remove_gate_script(gate_name(*folder)));
  if (!removed) return fail(removed.error());
  fs::remove_all(*folder, ignored);
  return {};
}

std::string metrics_text(const Stats& stats) {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view type, std::string_view help, std::uint64_t value) {
    text +=
        fmt::format("# HELP epif_nginx_{0} {2}\n# TYPE epif_nginx_{0} {1}\nepif_nginx_{0} {3}\n", name, type, help, value);
  };
  add("routes_generation", "gauge", "Generation of the routes that are served.", stats.generation);
  add("clients", "gauge", "Client nodes, each with an NGINX of its own.", stats.clients);
  add("unsettled", "gauge", "NGINX that do not serve what is wanted yet, or cannot.", stats.unsettled);
  add("reloads_total", "counter", "Reloads of running NGINX.", stats.reloads);
  add("cuts_total", "counter", "Routes whose flows were cut.", stats.cuts);
  return text;
}

}  // namespace epif::nginx
