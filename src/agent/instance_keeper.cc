#include "agent/instance_keeper.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "bridge/image.h"
#include "model/image_reference.h"

namespace epif::agent {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view built_in_tag = "localhost/epif-bf:latest";

bool has_own_service(const KeeperOptions& options) {
  std::error_code ignored;
  return std::filesystem::exists(options.state / "engine.sock", ignored);
}

}  // namespace

Result<bridge::Engine> open_engine(const KeeperOptions& options) {
  const std::lock_guard one_at_a_time(*options.opening);
  if (!options.engine.empty()) {
    bridge::Engine engine(options.engine, options.engine_deadline_ms);
    if (auto there = engine.ping(); !there) return fail(there.error());
    return engine;
  }
  if (options.kind == "docker") {
    bridge::Engine engine("/var/run/docker.sock", options.engine_deadline_ms);
    if (auto there = engine.ping(); !there) return fail(there.error());
    return engine;
  }
  auto service = bridge::EngineService::ensure(options.state);
  if (!service) return fail(service.error());
  return bridge::Engine(service->socket(), options.engine_deadline_ms);
}

Result<std::string> ensure_image(const bridge::Engine& engine, const KeeperOptions& options, const std::string& image) {
  auto there = engine.find_image(image);
  if (there) return there->id;
  if (there.error().code != Code::not_found) return fail(there.error());
  std::error_code ignored;
  if (std::filesystem::exists(options.built_in, ignored)) {
    auto made = bridge::make_image(options.built_in, built_in_tag);
    // Only the very content that was asked for: the wish names a digest, and the digest decides.
    if (made && digest_of_image(image) == made->id) {
      auto loaded = engine.load_image(made->archive, built_in_tag);
      if (!loaded) return fail(loaded.error());
      return made->id;
    }
  }
  return fail(Code::not_found, "the image is not there", image, "the engine at " + engine.socket().string() + " has none of that digest",
              "load it there, or correct the BridgingFunction");
}

InstanceKeeper::InstanceKeeper(KeeperOptions options, InstanceViews adopted, std::function<void()> changed)
    : options_(std::move(options)),
      changed_(std::move(changed)),
      views_(std::move(adopted)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

InstanceKeeper::~InstanceKeeper() {
  thread_.request_stop();
  wake_.notify_all();
}

void InstanceKeeper::wish(std::vector<WishedInstance> wished) {
  const std::lock_guard lock(mutex_);
  wished_ = std::move(wished);
  told_ = look_ = true;
  wake_.notify_all();
}

void InstanceKeeper::renew() {
  const std::lock_guard lock(mutex_);
  all_doomed_ = true;
  for (auto& [name, view] : views_) {
    doomed_.insert(name);
    view = {"starting", "its proxy died, and it is being replaced", {}, 0};
  }
  look_ = true;
  wake_.notify_all();
}

void InstanceKeeper::look() {
  const std::lock_guard lock(mutex_);
  look_ = true;
  wake_.notify_all();
}

InstanceViews InstanceKeeper::views() {
  const std::lock_guard lock(mutex_);
  return views_;
}

void InstanceKeeper::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::vector<WishedInstance> wished;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, std::chrono::milliseconds(limits::reconcile_interval_ms), [&] { return look_; });
      look_ = false;
      if (!told_) continue;
      wished = wished_;
    }
    if (!stop.stop_requested()) pass(wished);
  }
}

void InstanceKeeper::pass(const std::vector<WishedInstance>& wished) {
  std::vector<std::string> names;
  for (const auto& one : wished) names.push_back(one.name);
  const bool surplus = std::ranges::any_of(kept_, [&](const auto& entry) { return std::ranges::find(names, entry.first) == names.end(); });
  if (wished.empty() && kept_.empty() && views().empty()) return;
  if (!engine_) {
    auto engine = open_engine(options_);
    if (!engine) {
      for (const auto& one : wished) set(one.name, {"failed", engine.error().text(), {}, 0});
      return;
    }
    engine_ = std::move(*engine);
    // Once after a start: what an earlier agent left and nobody wishes any more.
    bridge::Instances found(*engine_, options_.owner, options_.state);
    if (auto removed = found.remove_others(names); !removed) log::error("agent", removed.error());
  }
  bridge::Instances instances(*engine_, options_.owner, options_.state);
  if (surplus) {
    if (auto removed = instances.remove_others(names); !removed) log::error("agent", removed.error());
    std::erase_if(kept_, [&](const auto& entry) { return std::ranges::find(names, entry.first) == names.end(); });
  }
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(views_, [&](const auto& entry) { return std::ranges::find(names, entry.first) == names.end(); });
  }
  {
    // Those as well that this run has not looked for yet.
    const std::lock_guard lock(mutex_);
    if (std::exchange(all_doomed_, false)) doomed_.insert(names.begin(), names.end());
  }
  remove_doomed(instances);
  for (const auto& one : wished) {
    if (engine_ && !is_doomed(one.name)) keep(instances, one);
  }
}

void InstanceKeeper::remove_doomed(bridge::Instances& instances) {
  std::set<std::string> doomed;
  {
    const std::lock_guard lock(mutex_);
    doomed = doomed_;
  }
  for (const auto& name : doomed) {
    if (auto removed = instances.remove(name); !removed) {
      log::error("agent", removed.error(), {{"instance", name}});
      if (removed.error().code == Code::engine) engine_.reset();  // the next look asks an engine anew
      return;
    }
    kept_.erase(name);
    const std::lock_guard lock(mutex_);
    doomed_.erase(name);
  }
}

bool InstanceKeeper::is_doomed(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return doomed_.contains(name);
}

void InstanceKeeper::keep(bridge::Instances& instances, const WishedInstance& one) {
  const auto known = views();
  const auto view = known.find(one.name);
  const auto kept = kept_.find(one.name);
  const bool same = kept != kept_.end() && kept->second == one;
  if (view != known.end() && view->second.state == "running" && same && bridge::process_alive(view->second.pid)) return;
  if (view != known.end() && view->second.state == "failed" && same && Clock::now() < retry_at_[one.name]) return;
  const bool ran = view != known.end() && view->second.state == "running";
  const bool lives = ran && bridge::process_alive(view->second.pid);
  // Left by an earlier agent, as the very thing that is wished: its flows go on while the engine is asked whether that holds.
  const bool adopted = kept == kept_.end() && lives && view->second.runs == one;
  if (!adopted) {
    set(one.name, {"starting", !ran ? "" : lives ? "it is being replaced" : "it ended and is being replaced", {}, 0});
  }
  kept_[one.name] = one;
  const auto failed = [&](const Error& error) {
    log::error("agent", error, {{"instance", one.name}});
    retry_at_[one.name] = Clock::now() + std::chrono::milliseconds(limits::instance_retry_ms);
    set(one.name, {"failed", error.text(), {}, 0});
  };
  const auto began = Clock::now();
  auto image = ensure_image(*engine_, options_, one.image);
  if (!image) return failed(image.error());
  auto running = instances.ensure_running({one.name, one.function, *image, one.trusted, {}});
  if (!running) {
    if (running.error().code == Code::engine) engine_.reset();  // look for an engine anew
    return failed(running.error());
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
  log::info("agent", "bridging function runs",
            {{"instance", one.name}, {"pid", std::to_string(running->pid)}, {"took_ms", std::to_string(took.count())}});
  set(one.name, {"running", {}, running->socket.string(), running->pid, one});
}

void InstanceKeeper::set(const std::string& name, InstanceView view) {
  {
    const std::lock_guard lock(mutex_);
    // What was being started when its proxy died.
    if (view.state == "running" && (all_doomed_ || doomed_.contains(name))) return;
    auto& now = views_[name];
    if (now == view) return;
    now = std::move(view);
  }
  changed_();
}

Result<> remove_instances(const KeeperOptions& options) {
  if (options.engine.empty() && options.kind != "docker") {
    if (!has_own_service(options) && !std::filesystem::exists(options.state / "engine")) return {};
    auto service = bridge::EngineService::ensure(options.state);
    if (!service) return fail(service.error());
    return service->destroy();
  }
  auto engine = open_engine(options);
  if (!engine) return fail(engine.error());
  return bridge::Instances(*engine, options.owner, options.state).remove_all();
}

}  // namespace epif::agent
