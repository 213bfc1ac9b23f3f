#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "bridge/engine.h"

/// Running bridging functions: containers held to a wished state. Every call can be repeated after a crash; containers are
/// found again by their labels (epif.owner, epif.instance, epif.spec), so nothing is kept in memory or in files.
namespace epif::bridge {

/// One wished BF container.
struct InstanceSpec {
  std::string name;      ///< unique per owner: [a-z0-9-], at most 48 bytes
  std::string function;  ///< value of EPIF_BF_FUNCTION; ignored by images that do one thing
  std::string image;     ///< pinned (model/image_reference.h); what runs is the image of that id
  bool trusted = false;  ///< `trust: platform`: started under trusted_seccomp_profile()
  std::map<std::string, std::string> environment;
  friend bool operator==(const InstanceSpec&, const InstanceSpec&) = default;
};

struct RunningInstance {
  std::string name;
  std::filesystem::path socket;  ///< for ChainLink.socket
  std::int64_t pid = 0;          ///< for ChainLink.peer_pid
  std::string image;             ///< image ID that really runs
  std::string container;         ///< id
};

/// The BF containers of one owner (a proxy node) on one engine. Not thread-safe; blocks, so not for a loop thread.
class Instances {
 public:
  /// Sockets live in `state`/bf/<name>/bf.sock; each folder belongs to its container's uid, mode 0700.
  Instances(Engine engine, std::string owner, std::filesystem::path state);

  /// Makes `spec` run and answer, and says where: adopts a running container of equal spec, replaces one that is dead or
  /// differs. Waits (bounded) until the socket listens. On error nothing half-made is left.
  [[nodiscard]] Result<RunningInstance> ensure_running(const InstanceSpec& spec);
  /// The instance if its process lives and its socket is there; Code::not_found otherwise. Cheap: one engine call.
  [[nodiscard]] Result<RunningInstance> find(const std::string& name) const;
  /// Kills and removes one, with its folder; one that is gone is fine.
  [[nodiscard]] Result<> remove(const std::string& name);
  /// Removes every container of this owner that is not in `keep`.
  [[nodiscard]] Result<> remove_others(const std::vector<std::string>& keep);
  [[nodiscard]] Result<> remove_all() { return remove_others({}); }

 private:
  Engine engine_;
  std::string owner_;
  std::filesystem::path state_;
};

/// True while process `pid` lives (a zombie does not). To notice a dead BF between reconciliations without an engine call.
[[nodiscard]] bool process_alive(std::int64_t pid);

}  // namespace epif::bridge
