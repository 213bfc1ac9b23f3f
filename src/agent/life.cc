#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <filesystem>

#include "agent/agent.h"
#include "api/tokens.h"
#include "base/log.h"

/// The agent's beginning and end: its folder, its membership, and taking down what it made.
namespace epif::agent {
namespace {

namespace fs = std::filesystem;

Result<Fd> claim(const std::string& path) {
  Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return fail(system_error(errno, "cannot open the agent's lock", path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::conflict, "an agent already works in this folder", path, {}, "stop it, or choose another --state");
  }
  return lock;
}

Result<> make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(Code::io, "cannot make the state folder", path, error.message());
  if (::chmod(path.c_str(), 0711) != 0) return fail(system_error(errno, "cannot protect the state folder", path));
  return {};
}

/// The node's place under another orchestrator, or under the same one with another store: what was assigned goes on until
/// that one assigns something, and no longer counts as word of a store that must be the same.
Result<api::Membership> join_again(const Settings& settings, const Paths& paths) {
  if (const auto before = api::open_membership(paths.membership)) {
    if (auto shown = show_identity(*before, paths.identity, false); !shown) return fail(shown.error());
  }
  // Before it joins: after a crash in between, the new certificate must not be shown for what the old store assigned.
  if (auto saved = load_assignment(paths.assignment); saved && !saved->store.empty()) {
    saved->store.clear();
    if (auto done = save_assignment(paths.assignment, *saved); !done) return fail(done.error());
  }
  return api::join(settings.orchestrator, settings.token, settings.node, paths.membership);
}

/// The membership is of the orchestrator that made the token, and still valid: there is nothing to join.
bool is_current(const api::Membership& known, const api::JoinToken& token) {
  const auto authority = api::fingerprint_of(known.tls.authority);
  const auto end = api::expiry_of(known.tls.certificate);
  return authority && *authority == token.authority_fingerprint && end && *end > std::chrono::system_clock::now();
}

bool is_out_of_reach(const Error& error) {
  constexpr std::array codes{Code::refused, Code::host_unreachable, Code::net_unreachable, Code::timeout, Code::reset};
  return std::ranges::find(codes, error.code) != codes.end();
}

Result<api::Membership> member(Settings settings, const Paths& paths) {
  auto known = api::open_membership(paths.membership);
  if (known && !settings.node.empty() && known->identity != settings.node) {
    return fail(Code::conflict, "this folder belongs to " + known->identity + ", not to " + settings.node, settings.state, {},
                "choose another --state");
  }
  if (known && !settings.rejoin) return known;
  if (!known && !settings.rejoin && known.error().code != Code::not_found) return fail(known.error());
  if (settings.node.empty() && known) settings.node = known->identity;
  if (settings.node.empty()) {
    return fail(Code::usage, "which node is this?", settings.state, "this host has not joined yet", "give --node DOMAIN/NODE, or --config FILE");
  }
  if (settings.rejoin) {
    if (settings.token.empty()) return fail(Code::usage, "joining again needs a token", settings.state, {}, "give --token or --token-file");
    auto token = api::JoinToken::parse(settings.token);
    if (!token) return fail(token.error());
    if (known && is_current(*known, *token)) return known;
    auto joined = join_again(settings, paths);
    if (joined || !known || !is_out_of_reach(joined.error())) return joined;
    log::warn("agent", "cannot join again now; goes on with the membership that it has, and tries at its next start",
              {{"error", joined.error().text()}});
    return known;
  }
  if (settings.token.empty()) {
    return fail(Code::usage, "this host has not joined yet", settings.state, {},
                "give --token, as `epif orchestrator init` or `epif orchestrator token` prints it");
  }
  return api::join(settings.orchestrator, settings.token, settings.node, paths.membership);
}

Result<> stop_redirector(const std::string& program, const Paths& paths) {
  if (!fs::exists(paths.redirect)) return {};
  Daemon redirect("redirect", paths.log, paths.routes);
  if (auto stopped = redirect.stop(); !stopped) return stopped;
  // Removes the rules that a crash left behind; done as well if there are none.
  Daemon uninstall("uninstall", paths.log, "");
  if (auto done = uninstall.run({program, "redirect", "--uninstall", "--state", paths.redirect}); !done) return done;
  return {};
}

Result<> remove_traces(const std::string& program, const Paths& paths, const KeeperOptions& engine) {
  Result<> first;
  const auto note = [&](Result<> done) {
    if (!done && first) first = fail(done.error());
  };
  note(stop_redirector(program, paths));
  note(NginxKeeper(program, paths.nginx, paths.routes, paths.nginx_admin, paths.log).take_down());
  note(Daemon("proxy", paths.log, paths.routes).stop());
  note(remove_instances(engine));
  std::error_code ignored;
  for (const auto& path : {paths.routes, paths.assignment, paths.admin, paths.redirect, paths.removed, paths.identity}) fs::remove_all(path, ignored);
  return first;
}

}  // namespace

Paths::Paths(const std::string& state)
    : membership(state + "/membership"),
      identity(state + "/identity"),
      hpke_key(state + "/hpke.key"),
      assignment(state + "/assignment.json"),
      routes(state + "/routes.json"),
      admin(state + "/admin.sock"),
      log(state + "/dataplane.log"),
      redirect(state + "/redirect"),
      nginx(state + "/nginx"),
      nginx_admin(state + "/nginx.sock"),
      removed(state + "/removed"),
      lock(state + "/agent.lock") {}

Result<> show_identity(const api::Membership& member, const std::string& folder, bool replace) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail(Code::io, "cannot make the folder", folder, error.message());
  ::chmod(folder.c_str(), 0700);
  const auto& [certificate, key, authority] = member.tls;
  for (const auto& [name, text, mode] : {std::tuple("/ca.crt", &authority, 0644u), {"/node.key", &key, 0600u}, {"/node.crt", &certificate, 0644u}}) {
    const auto there = api::read_file(folder + name);
    if (there && (*there == *text || !replace)) continue;
    if (auto written = api::write_file(folder + name, *text, mode); !written) return written;
  }
  return {};
}

Result<> save_assignment(const std::string& path, const SavedAssignment& saved) {
  boost::json::object out{{"generation", saved.generation}, {"version", saved.version}, {"store", saved.store}};
  out["assignment"] = boost::json::parse(print(saved.assignment));
  boost::json::array running;
  for (const auto& [runs, pid] : saved.running) {
    running.push_back(boost::json::object{
        {"name", runs.name}, {"function", runs.function}, {"image", runs.image}, {"trusted", runs.trusted}, {"pid", pid}});
  }
  out["running"] = std::move(running);
  return api::write_file(path, boost::json::serialize(out) + "\n", 0600);
}

Result<SavedAssignment> load_assignment(const std::string& path) {
  auto text = api::read_file(path);
  if (!text) return fail(text.error());
  try {
    const auto from = boost::json::parse(*text).as_object();
    auto assignment = parse_assignment(boost::json::serialize(from.at("assignment")));
    if (!assignment) return fail(assignment.error());
    SavedAssignment out{.assignment = std::move(*assignment), .generation = from.at("generation").to_number<std::uint64_t>()};
    if (const auto* version = from.if_contains("version")) out.version = version->to_number<store::Revision>();
    if (const auto* store = from.if_contains("store")) out.store = std::string(store->as_string());
    if (const auto* running = from.if_contains("running")) {
      for (const auto& item : running->as_array()) {
        const auto word = [&](const char* field) { return std::string(item.at(field).as_string()); };
        out.running.push_back({{word("name"), word("function"), word("image"), item.at("trusted").as_bool()},
                               item.at("pid").to_number<std::int64_t>()});
      }
    }
    return out;
  } catch (const std::exception& error) {
    return fail(Code::invalid_input, "the saved assignment cannot be read", path, error.what());
  }
}

Result<std::unique_ptr<Agent>> Agent::start(Settings settings) {
  if (::geteuid() != 0) {
    return fail(Code::permission, "an agent changes the rules and processes of its host", "epif agent", "not root", "run it as root");
  }
  std::error_code ignored;
  settings.state = fs::absolute(settings.state, ignored).lexically_normal().string();
  const bool made = !fs::exists(settings.state, ignored);
  const Paths paths(settings.state);
  if (auto folder = make_folder(settings.state); !folder) return fail(folder.error());
  auto lock = claim(paths.lock);
  if (!lock) return fail(lock.error());
  auto membership = member(settings, paths);
  if (!membership) {
    if (made) fs::remove_all(settings.state, ignored);
    return fail(membership.error());
  }
  settings.node = membership->identity;
  return std::unique_ptr<Agent>(new Agent(std::move(settings), paths, std::move(*lock), std::move(*membership)));
}

void Agent::read_saved() {
  for (const auto& path : {paths_.assignment, paths_.routes}) api::remove_unfinished(path);
  auto saved = load_assignment(paths_.assignment);
  if (!saved) {
    left_ = true;
    std::error_code ignored;
    if (fs::exists(paths_.removed, ignored)) {
      const std::lock_guard lock(mutex_);
      assigned_.restore_removed();
      return;
    }
    if (saved.error().code != Code::not_found) log::error("agent", saved.error());
    return hold_left(saved.error().code == Code::not_found ? "no assignment is saved" : saved.error().text());
  }
  if (auto text = api::read_file(paths_.routes)) {
    if (auto table = parse_routes(*text, paths_.routes)) written_ = std::move(*table);
    else log::error("agent", table.error());
  }
  left_running_ = std::move(saved->running);
  const std::lock_guard lock(mutex_);
  saved_store_ = saved->store;
  assigned_.restore(std::move(*saved));
  log::info("agent", "goes on with what was assigned before", {{"generation", std::to_string(assigned_.generation())}});
}

/// Processes of an earlier run serve routes that nobody can say are still allowed: they end, and capture rules stay and refuse.
void Agent::hold_left(const std::string& why) {
  std::error_code ignored;
  const bool any = fs::exists(paths_.routes, ignored) || fs::exists(paths_.redirect, ignored) || fs::exists(paths_.nginx, ignored);
  for (const auto* name : {"proxy", "redirect"}) {
    Daemon daemon(name, paths_.log, paths_.routes);
    if (auto halted = daemon.halt(why); !halted) log::error("agent", halted.error());
  }
  if (auto gone = NginxKeeper(settings_.program, paths_.nginx, paths_.routes, paths_.nginx_admin, paths_.log).take_down(); !gone) {
    log::error("agent", gone.error());
  }
  ::unlink(paths_.routes.c_str());
  diverts_ = fs::exists(paths_.redirect, ignored);
  shut_diversions();
  if (any) {
    log::error("agent", Error{Code::conflict, "what an earlier run left is stopped, and its capture rules stay", settings_.state, why,
                              "it goes on with the node's next assignment; to give the host up: epif agent --cleanup"});
  }
}

void Agent::step_aside() {
  if (!role_ && !left_) return;
  bool removed = false;
  {
    const std::lock_guard lock(mutex_);
    removed = !assigned_.wanted();
  }
  // A crash in between must neither go on with what was removed nor forget to take it down.
  if (removed) {
    if (auto marked = api::write_file(paths_.removed, "", 0600); !marked) log::error("agent", marked.error());
  }
  ::unlink(paths_.assignment.c_str());
  const auto done = take_down();
  const auto text = done ? std::string() : done.error().text();
  if (done) {
    log::info("agent", "the node has no assignment any more, or another role; everything was taken down");
    ::unlink(paths_.removed.c_str());
  } else if (text != take_down_error_) {
    log::error("agent", done.error());
  }
  take_down_error_ = text;
  if (speaker_) speaker_->forget_report();
}

Result<> Agent::take_down() {
  if (keeper_) keeper_->wish({});
  Assignment last;
  last.engine = engine_kind_;
  const auto now = keeper_options_now();
  const auto engine = now ? *now : keeper_options(last);
  keeper_.reset();
  daemon_.reset();
  nginx_.reset();
  wished_.clear();
  instance_fds_.clear();
  instance_pids_.clear();
  written_ = {};
  held_.clear();
  auto done = remove_traces(settings_.program, paths_, engine);
  if (!done) return done;
  role_.reset();
  left_ = false;
  return {};
}

Result<> clean_up(const std::string& state, const std::string& program) {
  std::error_code ignored;
  const auto folder = fs::absolute(state, ignored).lexically_normal().string();
  if (!fs::exists(folder, ignored)) return {};
  const Paths paths(folder);
  auto lock = claim(paths.lock);
  if (!lock) return fail(lock.error());
  KeeperOptions engine;
  engine.state = folder;
  if (const auto saved = load_assignment(paths.assignment)) {
    engine.owner = saved->assignment.node;
    engine.kind = saved->assignment.engine.empty() ? "podman" : saved->assignment.engine;
  }
  return remove_traces(program, paths, engine);
}

}  // namespace epif::agent
