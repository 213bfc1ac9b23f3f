#include "nginx/instance.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "base/limits.h"
#include "base/log.h"
#include "net/tcp_table.h"
#include "nginx/processes.h"
#include "nginx/served.h"

namespace epif::nginx {
namespace {

namespace fs = std::filesystem;

Result<> write_whole(const std::string& path, const std::string& text) {
  const auto fresh = path + ".writing";
  {
    std::ofstream file(fresh, std::ios::trunc | std::ios::binary);
    file << text;
    file.flush();
    if (!file) return fail(Code::io, "cannot write", fresh);
  }
  std::error_code failure;
  fs::rename(fresh, path, failure);
  if (failure) return fail(Code::io, "cannot write", path, failure.message());
  return {};
}

std::optional<std::vector<Route>> read_routes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  auto table = parse_routes(std::string((std::istreambuf_iterator<char>(file)), {}), path);
  if (!table) return {};
  return std::move(table->routes);
}

std::vector<Route> without(const std::vector<Route>& routes, const std::vector<Route>& others) {
  std::vector<Route> out;
  std::ranges::copy_if(routes, std::back_inserter(out), [&](const Route& route) {
    return std::ranges::none_of(others, [&](const Route& other) { return other.nginx->listen == route.nginx->listen; });
  });
  return out;
}

bool is_over(const Fd& handle) {
  pollfd look{handle.get(), POLLIN, 0};
  return ::poll(&look, 1, 0) > 0;
}

}  // namespace

Instance::Instance(net::Loop& loop, std::string folder, const Program& program, std::function<void()> changed)
    : loop_(loop), folder_(std::move(folder)), program_(program), changed_(std::move(changed)) {
  adopt();
}

Instance::~Instance() = default;

void Instance::adopt() {
  const auto found = processes_in(folder_);
  if (found.empty()) return;
  const auto* master = master_of(found);
  const bool stopped = std::ranges::any_of(found, [](const NginxProcess& process) { return process.state == 'T'; });
  auto routes = read_routes(folder_ + "/served.json");
  if (master != nullptr && !stopped && routes) {
    may_serve_ = std::move(*routes);
    hold(master->pid);
    log::info("nginx", "goes on with what runs", {{"folder", folder_}, {"pid", std::to_string(master_)}});
    return;
  }
  // Without its master, in the middle of a cut, or serving nobody knows what.
  if (auto ended = end_all(folder_); !ended) log::error("nginx", ended.error());
}

void Instance::hold(int pid) {
  master_ = pid;
  handle_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

void Instance::want(std::vector<Route> routes) {
  wanted_ = std::move(routes);
  if (const auto gone = withdrawn(may_serve_, wanted_); !gone.empty()) cut(gone);
  timer_.cancel();
  if (in_force()) return settle();
  settled_ = false;
  // Later, since a test of a configuration takes its time, and others wait for their cut.
  timer_ = loop_.after(std::chrono::milliseconds(0), [this] { advance(); });
}

bool Instance::in_force() const {
  return master_ != 0 && configuration(wanted_, program_.build) == in_force_;
}

void Instance::cut(const std::vector<Route>& routes) {
  const auto done = cut_sockets(folder_, routes, without(may_serve_, routes));
  if (done) return;
  log::error("nginx", done.error(), {{"next", "NGINX of this client is ended"}});
  if (auto ended = end_all(folder_); !ended) log::error("nginx", ended.error());
}

void Instance::remember(const std::vector<Route>& routes) {
  RouteTable table;
  std::set<std::string> ids;
  for (const auto& route : routes) {
    table.routes.push_back(route);
    // A route that changed stands here twice, before and after; ids matter to nobody here.
    for (int number = 1; !ids.insert(table.routes.back().id).second; ++number)
      table.routes.back().id = fmt::format("before-{}", number);
  }
  if (auto written = write_whole(folder_ + "/served.json", print_routes(table)); !written)
    log::error("nginx", written.error());
}

void Instance::advance() {
  timer_.cancel();
  if (in_force()) return settle();
  settled_ = false;
  const auto text = configuration(wanted_, program_.build);
  std::error_code failure;
  fs::create_directories(folder_ + "/temp", failure);
  ::chmod(folder_.c_str(), 0711);
  // The list first: with a crash in between it names too much, never too little.
  auto all = without(may_serve_, {});
  for (const auto& route : withdrawn(wanted_, may_serve_)) all.push_back(route);
  may_serve_ = std::move(all);
  remember(may_serve_);
  if (auto written = write_whole(folder_ + "/nginx.conf.new", text); !written) return failed(written.error());
  if (auto tested =
          run_in(folder_, {program_.path, "-t", "-q", "-p", folder_ + "/", "-c", "nginx.conf.new", "-e", "stderr"});
      !tested) {
    return failed(tested.error());
  }
  fs::rename(folder_ + "/nginx.conf.new", folder_ + "/nginx.conf", failure);
  if (failure) return failed({Code::io, "cannot put NGINX's configuration in place", folder_, failure.message()});
  in_force_.clear();
  if (auto begun = start_or_reload(); !begun) return failed(begun.error());
  deadline_ = net::Clock::now() + std::chrono::milliseconds(limits::nginx_ready_ms);
  look();
}

Result<> Instance::start_or_reload() {
  before_.clear();
  if (master_ != 0) {
    for (const auto& process : processes_in(folder_)) before_.push_back(process.pid);
    ++reloads_;
    if (::syscall(SYS_pidfd_send_signal, handle_.get(), SIGHUP, nullptr, 0) == 0) return {};
    return fail(system_error(errno, "cannot tell NGINX to reload", folder_));
  }
  auto pid = start_in(folder_, {program_.path, "-p", folder_ + "/", "-c", "nginx.conf", "-e", "stderr"});
  if (!pid) return fail(pid.error());
  hold(*pid);
  before_.push_back(*pid);
  log::info("nginx", "started", {{"folder", folder_}, {"pid", std::to_string(*pid)}});
  return {};
}

/// Workers of the new generation are there, and the ports are as wanted. A reload that fails, because a port is taken, makes
/// none.
bool Instance::ready() const {
  const auto all = processes_in(folder_);
  const bool fresh = std::ranges::any_of(all, [&](const NginxProcess& process) {
    return process.parent == master_ && std::ranges::find(before_, process.pid) == before_.end();
  });
  const auto table = net::tcp_table();
  if (!fresh || !table) return false;
  const auto listens = [&](const Route& route) {
    return std::ranges::any_of(*table,
                               [&](const auto& entry) { return entry.listens && entry.local == route.nginx->listen; });
  };
  return std::ranges::all_of(wanted_, listens) && std::ranges::none_of(without(may_serve_, wanted_), listens);
}

void Instance::look() {
  if (ready()) return settle();
  if (net::Clock::now() > deadline_) {
    return failed({Code::timeout, "NGINX does not take its configuration", folder_, "", "its words are in the log above"});
  }
  timer_ = loop_.after(std::chrono::milliseconds(limits::nginx_ready_look_ms), [this] { look(); });
}

void Instance::settle() {
  in_force_ = configuration(wanted_, program_.build);
  may_serve_ = wanted_;
  remember(may_serve_);
  settled_ = true;
  trouble_.clear();
  back_off_ = {};
  changed_();
}

void Instance::failed(const Error& error) {
  if (error.text() != trouble_) log::error("nginx", error);
  trouble_ = error.text();
  settled_ = false;
  timer_ = loop_.after(std::chrono::milliseconds(limits::reconcile_interval_ms), [this] { advance(); });
  changed_();
}

void Instance::check() {
  if (master_ == 0 || !is_over(handle_)) return;
  ::waitid(P_PID, static_cast<id_t>(master_), nullptr, WEXITED | WNOHANG);  // ours, unless it was adopted
  log::warn("nginx", "ended", {{"folder", folder_}, {"pid", std::to_string(master_)}});
  master_ = 0;
  handle_.reset();
  in_force_.clear();
  settled_ = false;
  // Its workers go on without it, and nobody could tell them anything.
  if (auto ended = end_all(folder_); !ended) log::error("nginx", ended.error());
  may_serve_.clear();
  back_off_ = std::clamp(back_off_ * 2, std::chrono::milliseconds(100), std::chrono::milliseconds(limits::nginx_ready_ms));
  timer_ = loop_.after(back_off_, [this] { advance(); });
  trouble_ = "NGINX ended and is started again";
  changed_();
}

Result<> Instance::end() {
  timer_.cancel();
  auto ended = end_all(folder_);
  if (master_ != 0) ::waitid(P_PID, static_cast<id_t>(master_), nullptr, WEXITED | WNOHANG);
  master_ = 0;
  handle_.reset();
  may_serve_.clear();
  wanted_.clear();
  settled_ = false;
  if (!ended) return ended;
  std::error_code failure;
  fs::remove_all(folder_, failure);
  return {};
}

}  // namespace epif::nginx
