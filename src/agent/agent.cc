#include "agent/agent.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "agent/probe.h"
#include "base/limits.h"
#include "base/log.h"
#include "bridge/hpke.h"

namespace epif::agent {
namespace {

using Clock = std::chrono::steady_clock;

bool same_content(RouteTable one, RouteTable other) {
  one.generation = other.generation = 0;
  return one == other;
}

}  // namespace

Agent::Agent(Settings settings, Paths paths, Fd lock, api::Membership member)
    : settings_(std::move(settings)),
      paths_(std::move(paths)),
      lock_(std::move(lock)),
      member_(std::move(member)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      assigned_(settings_.node) {
  if (settings_.rejoin) assigned_.allow_other_store();
}

Agent::~Agent() {
  watches_.clear();
  speaker_.reset();
  keeper_.reset();
}

void Agent::nudge() const {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
}

api::ClientOptions Agent::orchestrator() const {
  api::ClientOptions options;
  options.url = settings_.orchestrator;
  options.tls = member_.tls;
  return options;
}

Result<> Agent::run(const std::stop_token& stop) {
  const std::stop_callback stopping(stop, [this] { nudge(); });
  read_saved();
  step();
  watch();
  while (!stop.stop_requested()) {
    wait();
    if (!stop.stop_requested()) step();
  }
  watches_.clear();  // first those who could ask for something new
  speaker_.reset();
  return take_down();
}

void Agent::watch() {
  speaker_ = std::make_unique<Speaker>(orchestrator(), settings_.node, settings_.rules, [this](const std::string& image) {
    const auto options = keeper_options_now();
    if (!options) return Result<>(fail(Code::not_found, "this node is no proxy node now", settings_.node));
    auto engine = open_engine(*options);
    if (!engine) return Result<>(fail(engine.error()));
    auto there = ensure_image(*engine, *options, image);
    return there ? Result<>() : Result<>(fail(there.error()));
  });
  api::WatchCalls own;
  own.listed = [this](const store::Listing& all) {
    const std::lock_guard lock(mutex_);
    heard(assigned_.listed(all));
  };
  own.changed = [this](const store::Event& event) {
    const std::lock_guard lock(mutex_);
    heard(assigned_.changed(event));
  };
  own.connection = [](const std::optional<Error>& error) {
    if (error) log::warn("agent", "the orchestrator cannot be reached; what runs goes on", {{"error", error->text()}});
    else log::info("agent", "connected to the orchestrator");
  };
  watches_.push_back(
      std::make_unique<api::Watch>(orchestrator(), std::string(assignment_kind), settings_.node, std::move(own)));
  for (const auto kind : {access_request_kind, node_request_kind}) {
    const auto known = std::make_shared<std::map<std::string, DomainRequest>>();
    const auto take = [known](const store::Record& record) {
      if (auto request = parse_request(record.spec)) (*known)[record.name] = std::move(*request);
      else log::error("agent", request.error());
    };
    api::WatchCalls calls;
    calls.listed = [this, kind, known, take](const store::Listing& all) {
      known->clear();
      for (const auto& record : all.records) take(record);
      speaker_->requests(kind, *known);
    };
    calls.changed = [this, kind, known, take](const store::Event& event) {
      if (event.type == store::Event::Type::removed) known->erase(event.record.name);
      else take(event.record);
      speaker_->requests(kind, *known);
    };
    watches_.push_back(std::make_unique<api::Watch>(orchestrator(), std::string(kind), "", std::move(calls)));
  }
}

/// Under the lock.
void Agent::heard(bool news) {
  if (!news) return;
  if (!assigned_.trouble().empty()) log::error("agent", Error{Code::conflict, assigned_.trouble()});
  nudge();
}

void Agent::wait() {
  std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}};
  if (daemon_ && daemon_->watch_fd() >= 0) fds.push_back({daemon_->watch_fd(), POLLIN, 0});
  if (nginx_ && nginx_->watch_fd() >= 0) fds.push_back({nginx_->watch_fd(), POLLIN, 0});
  for (const auto& fd : instance_fds_) fds.push_back({fd.get(), POLLIN, 0});
  auto pause = std::chrono::milliseconds(limits::reconcile_interval_ms);
  // A generation that the data plane has not taken yet is asked for again soon; its own event takes milliseconds.
  const bool taking = !daemon_error_.empty() && !(daemon_ && !daemon_->not_replaced().empty());
  if (taking || (daemon_ && daemon_->replacing())) pause = std::chrono::milliseconds(limits::agent_soon_ms);
  ::poll(fds.data(), fds.size(), static_cast<int>(pause.count()));
  std::uint64_t count = 0;
  static_cast<void>(!::read(wake_.get(), &count, sizeof count));
  const bool instance_ended = std::any_of(fds.begin() + 1, fds.end(), [](const pollfd& one) { return one.revents != 0; });
  if (instance_ended && keeper_) keeper_->look();
}

void Agent::step() {
  std::optional<Assignment> assignment;
  bool removed = false;
  {
    const std::lock_guard lock(mutex_);
    if (!assigned_.wanted() && !assigned_.trouble().empty() && speaker_) {
      AssignmentReport report;
      report.errors = {assigned_.trouble()};
      speaker_->report(std::move(report));
    }
    if (!assigned_.informed()) return;
    assignment = assigned_.wanted();
    removed = assigned_.removed();
  }
  if (!assignment) {
    // What an earlier run left without a word is held already; only a removal opens the host again.
    if (removed) step_aside();
    return;
  }
  if (role_ && *role_ != assignment->role) step_aside();
  if (role_ && *role_ != assignment->role) return;  // the rest of the old role first, at the next look
  if (!daemon_) {
    role_ = assignment->role;
    if (*role_ == Role::proxy) engine_kind_ = assignment->engine;
    const std::string name = *role_ == Role::proxy ? "proxy" : "redirect";
    daemon_ = std::make_unique<Daemon>(name, paths_.log, paths_.routes);
    if (*role_ == Role::proxy) {
      nginx_ = std::make_unique<NginxKeeper>(settings_.program, paths_.nginx, paths_.routes, paths_.nginx_admin, paths_.log);
    }
  }
  if (*role_ == Role::proxy && public_key_.empty()) {
    if (auto key = hpke::KeyPair::load_or_create(paths_.hpke_key)) public_key_ = key->public_text();
    else log::error("agent", key.error());
  }
  if (*role_ == Role::proxy && !keeper_) {
    keeper_ = std::make_unique<InstanceKeeper>(keeper_options(*assignment), running_instances(left_running_, written_),
                                               [this] { nudge(); });
  }
  end_orphans();
  const auto views = as_wished(*assignment, keeper_ ? keeper_->views() : InstanceViews{});
  write_routes(*assignment, views);
  if (keeper_ && wished_ != assignment->instances) {
    wished_ = assignment->instances;
    keeper_->wish(wished_);
  }
  keep_identity();
  keep_daemon(*assignment);
  watch_instances(views);
  send_report(*assignment, views);
  renew_certificate();
}

/// A proxy that died can cut nothing any more, and its functions still hold what it lent them, the peers' very sockets among it.
/// They are killed before another proxy serves, and its routes are blocked until they run anew.
void Agent::end_orphans() {
  if (!keeper_) return;
  if (!daemon_->gone(settings_.program)) {
    orphans_ended_ = false;
    return;
  }
  if (std::exchange(orphans_ended_, true)) return;
  // At once, without asking an engine; the keeper removes what is left of them, and what is not known here.
  for (const auto& process : instance_fds_) ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
  const auto deadline = Clock::now() + std::chrono::milliseconds(limits::reconcile_interval_ms);
  for (const auto& process : instance_fds_) {
    pollfd look{process.get(), POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    ::poll(&look, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
  }
  keeper_->renew();
}

void Agent::watch_instances(const InstanceViews& views) {
  std::vector<std::int64_t> pids;
  for (const auto& [name, view] : views) {
    if (view.state == "running") pids.push_back(view.pid);
  }
  if (pids == instance_pids_) return;
  instance_pids_ = pids;
  instance_fds_.clear();
  for (const auto pid : pids) {
    Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
    if (fd) instance_fds_.push_back(std::move(fd));
  }
}

void Agent::write_routes(const Assignment& assignment, const InstanceViews& views) {
  auto table = complete(assignment, views, written_.generation + 1);
  const bool stands = held_.empty() && written_.generation != 0 && same_content(table, written_);
  SavedAssignment save{.assignment = assignment, .running = known_instances(views)};
  {
    const std::lock_guard lock(mutex_);
    save.generation = assigned_.generation();
    save.version = assigned_.version();
    save.store = assigned_.store();
  }
  if (stands && saved_ && saved_store_ == save.store) return;
  const bool narrower = written_.generation == 0 || takes_away(written_, assignment.routes);
  // The assignment first: after a crash between the two, a restart must not bring back the routes that this one withdrew.
  const auto saved = save_assignment(paths_.assignment, save);
  const auto written = stands ? Result<>() : api::write_file(paths_.routes, print_routes(table), 0600);
  saved_ = saved.has_value();
  if (saved) ::unlink(paths_.removed.c_str());
  saved_store_ = save.store;
  note_write(saved, written);
  // What cannot be brought up to date must not be found by the next run: that one waits for the orchestrator instead.
  if (!saved && narrower) ::unlink(paths_.assignment.c_str());
  if (!written && narrower) hold_daemon(write_error_);
  if (!written || stands) return;
  held_.clear();
  withdrawn_ = withdrawn_ || narrower;
  written_ = std::move(table);
  log::info("agent", "routes written", {{"generation", std::to_string(written_.generation)},
                                        {"routes", std::to_string(written_.routes.size())}});
}

void Agent::note_write(const Result<>& saved, const Result<>& written) {
  const auto error = !written ? written.error() : !saved ? saved.error() : Error{};
  const auto text = written && saved ? std::string() : error.text();
  if (!text.empty() && text != write_error_) log::error("agent", error);
  write_error_ = text;
}

/// The routes on disk allow what was taken away, and cannot be replaced: nothing may read them. Flows are reset, the capture
/// rules stay, and the process comes back with the first routes that can be written.
void Agent::hold_daemon(const std::string& why) {
  held_ = "it is stopped, since routes were withdrawn and the new ones cannot be written: " + why;
  ::unlink(paths_.routes.c_str());
  if (auto halted = daemon_->halt(held_); !halted) log::error("agent", halted.error());
  if (nginx_) nginx_->hold(held_);
  diverts_ = role_ == Role::endpoint;
  shut_diversions();
}

/// The kernel carries the flows of NGINX without the redirector. The log may be what cannot be written.
void Agent::shut_diversions() {
  if (!diverts_) return;
  Result<> done;
  for (const auto& log : {paths_.log, std::string("/dev/null")}) {
    done = Daemon("shut", log, "").run({settings_.program, "redirect", "--shut", "--state", paths_.redirect});
    if (done) break;
  }
  diverts_ = !done;
  if (!done) log::error("agent", done.error());
}

/// What was assigned by the orchestrator of the membership is carried out with it; what one before assigned, with the one before.
void Agent::keep_identity() {
  bool its_own = false;
  {
    const std::lock_guard lock(mutex_);
    its_own = !assigned_.foreign() && !assigned_.store().empty();
  }
  if (auto shown = show_identity(member_, paths_.identity, its_own); !shown) log::error("agent", shown.error());
}

void Agent::keep_daemon(const Assignment& assignment) {
  daemon_error_.clear();
  if (!held_.empty()) {
    if (daemon_->running()) hold_daemon(write_error_);
    else shut_diversions();
    return;
  }
  if (nginx_) nginx_->keep(written_);
  const auto kept = daemon_->ensure(command(assignment));
  if (!kept && !daemon_->running()) {
    daemon_error_ = daemon_->trouble();
    return;
  }
  const auto loaded = loaded_generation(paths_.admin);
  if (!kept) daemon_error_ = kept.error().text();
  else if (!loaded) daemon_error_ = "it does not answer yet";
  else if (*loaded != written_.generation) daemon_error_ = fmt::format("it serves routes {}, not yet {}", *loaded, written_.generation);
  else if (nginx_) daemon_error_ = nginx_->lacking();
  const bool follows = loaded && *loaded == written_.generation;
  if (follows) withdrawn_ = false;
  if (follows || !withdrawn_ || daemon_->not_replaced().empty()) return deaf_since_.reset();
  end_deaf_daemon();
}

/// An old process that nothing replaces is kept for its flows, but not if it goes on with what was taken away: it may be unable to
/// read what a newer agent writes.
void Agent::end_deaf_daemon() {
  if (!deaf_since_) deaf_since_ = Clock::now();
  if (Clock::now() - *deaf_since_ < std::chrono::milliseconds(limits::handover_serving_ms)) return;
  deaf_since_.reset();
  const auto why = "it does not follow routes that were withdrawn, and is not replaced: " + daemon_->not_replaced();
  log::error("agent", Error{Code::conflict, why, paths_.routes, daemon_error_, "its flows are reset; it is started anew"});
  if (auto halted = daemon_->halt(why); !halted) log::error("agent", halted.error());
}

std::vector<std::string> Agent::command(const Assignment& assignment) const {
  std::vector<std::string> out{settings_.program};
  if (assignment.role == Role::proxy) {
    out.insert(out.end(), {"proxy", "--tls-listen", assignment.listen.text(), "--hpke-key", paths_.hpke_key});
  } else {
    out.insert(out.end(), {"redirect", "--state", paths_.redirect});
  }
  const auto& in = paths_.identity;
  out.insert(out.end(), {"--routes", paths_.routes, "--cert", in + "/node.crt", "--key", in + "/node.key", "--ca", in + "/ca.crt",
                         "--admin", "unix:" + paths_.admin});
  if (settings_.mptcp) out.emplace_back("--mptcp");
  return out;
}

KeeperOptions Agent::keeper_options(const Assignment& assignment) const {
  const auto built_in = std::filesystem::path(settings_.program).parent_path() / "epif-bf";
  return {.state = settings_.state, .owner = settings_.node, .engine = settings_.engine, .kind = assignment.engine, .built_in = built_in,
          .opening = opening_};
}

std::optional<KeeperOptions> Agent::keeper_options_now() {
  const std::lock_guard lock(mutex_);
  const auto& wanted = assigned_.wanted();
  if (!wanted || wanted->role != Role::proxy) return {};
  return keeper_options(*wanted);
}

void Agent::send_report(const Assignment& assignment, const InstanceViews& views) {
  if (!speaker_) return;
  AssignmentReport report;
  report.public_key = public_key_;
  for (const auto& wished : assignment.instances) {
    const auto view = views.find(wished.name);
    if (view == views.end()) report.instances.push_back({wished.name, "starting", 0, ""});
    else report.instances.push_back({wished.name, view->second.state, view->second.pid, view->second.reason});
  }
  const std::string name = assignment.role == Role::proxy ? "proxy" : "redirect";
  const bool up = daemon_->running();
  const bool hopeless = !up && !daemon_->trouble().empty() && daemon_->trouble() != "not started yet";
  report.processes.push_back({name, up ? "running" : hopeless ? "failed" : "starting", daemon_->pid(),
                              up ? daemon_->not_replaced() : daemon_->trouble()});
  if (const auto part = nginx_ ? nginx_->part() : std::nullopt) report.processes.push_back(*part);
  if (!write_error_.empty()) report.errors.push_back(write_error_);
  if (!daemon_error_.empty() && up && !daemon_->not_replaced().empty()) report.errors.push_back(daemon_->not_replaced());
  const std::lock_guard lock(mutex_);
  if (!assigned_.trouble().empty()) report.errors.push_back(assigned_.trouble());
  if (write_error_.empty() && daemon_error_.empty() && assigned_.wanted() == assignment) {
    applied_ = assigned_.generation();
    applied_store_ = assigned_.store();
  }
  // Generations of another store mean nothing to the one that listens.
  report.generation = assigned_.foreign() || applied_store_ != assigned_.store() ? 0 : applied_;
  speaker_->report(std::move(report));
}

void Agent::renew_certificate() {
  if (Clock::now() < renewal_look_ || !speaker_) return;
  renewal_look_ = Clock::now() + std::chrono::hours(1);
  const auto end = api::expiry_of(member_.tls.certificate);
  const auto margin = std::chrono::days(limits::certificate_valid_days / 3);
  if (end && *end > std::chrono::system_clock::now() + margin) return;
  auto renewed = api::renew(settings_.orchestrator, member_, paths_.membership);
  if (!renewed) return log::error("agent", renewed.error());
  member_ = std::move(*renewed);
  // The orchestrator ends what the old certificate opened when that ends, and lets it open nothing more.
  watches_.clear();
  watch();
  log::info("agent", "certificate renewed");
}

}  // namespace epif::agent
