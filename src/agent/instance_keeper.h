#pragma once
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "agent/table.h"
#include "base/limits.h"
#include "bridge/engine.h"
#include "bridge/instance.h"
#include "model/assignment.h"

namespace epif::agent {

struct KeeperOptions {
  std::filesystem::path state;     ///< the agent's folder
  std::string owner;               ///< "domain/proxy"
  std::string engine;              ///< Unix socket given by the user; empty: see open_engine
  std::string kind = "podman";     ///< ProxyNode.spec.engine
  std::filesystem::path built_in{};  ///< static program of the built-in functions, made an image where one is wished
  std::uint32_t engine_deadline_ms = limits::engine_deadline_ms;  ///< for each question to it
  std::shared_ptr<std::mutex> opening = std::make_shared<std::mutex>();  ///< one thread at a time starts an engine service
};

/// The engine at `options.engine`, or the system's own where it answers, or (podman) a service of the agent's own whose
/// storage lies in its folder. Blocks.
[[nodiscard]] Result<bridge::Engine> open_engine(const KeeperOptions& options);
/// The id ("sha256:...") of `image` in the engine. `image` is pinned by the digest of its content or manifest; the built-in functions' image is loaded now if it is the one that is asked for and not there yet. Blocks.
[[nodiscard]] Result<std::string> ensure_image(const bridge::Engine& engine, const KeeperOptions& options, const std::string& image);

/// Holds the bridging functions of a proxy node in their wished state, on a thread of its own: engines are slow, and a
/// revocation must never wait for one.
class InstanceKeeper {
 public:
  /// `adopted`: instances that an earlier agent left running; each is compared with its wish by its container's label before
  /// it is kept, and goes on meanwhile if it is known to be what is wished. `changed` runs on the keeper's thread after every
  /// change of views().
  InstanceKeeper(KeeperOptions options, InstanceViews adopted, std::function<void()> changed);
  ~InstanceKeeper();
  InstanceKeeper(const InstanceKeeper&) = delete;
  InstanceKeeper& operator=(const InstanceKeeper&) = delete;

  /// The whole wish; what is not in it is removed. Returns at once.
  void wish(std::vector<WishedInstance> wished);
  /// The proxy that lent them streams is dead: all are killed and started anew, whatever state they are in. From when this returns
  /// none is "running" in views() before it is a new one. Returns at once.
  void renew();
  /// A process ended: look now.
  void look();
  [[nodiscard]] InstanceViews views();

 private:
  void run(const std::stop_token& stop);
  void pass(const std::vector<WishedInstance>& wished);
  void keep(bridge::Instances& instances, const WishedInstance& one);
  void remove_doomed(bridge::Instances& instances);
  [[nodiscard]] bool is_doomed(const std::string& name);
  void set(const std::string& name, InstanceView view);

  KeeperOptions options_;
  std::function<void()> changed_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool look_ = false;
  bool told_ = false;  ///< a wish was said
  std::vector<WishedInstance> wished_;
  InstanceViews views_;
  bool all_doomed_ = false;       ///< guarded: renew() was called since the last pass
  std::set<std::string> doomed_;  ///< to be removed before anything is started under the name; guarded
  std::map<std::string, std::chrono::steady_clock::time_point> retry_at_;
  std::map<std::string, WishedInstance> kept_;  ///< what was made sure of under each name; the keeper's thread alone
  std::optional<bridge::Engine> engine_;
  std::jthread thread_;
};

/// Stops what an earlier agent left in this folder: containers and an engine service. For `epif agent --cleanup`.
[[nodiscard]] Result<> remove_instances(const KeeperOptions& options);

}  // namespace epif::agent
