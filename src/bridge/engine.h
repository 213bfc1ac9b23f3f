#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"

/// Driver of a container engine over the Docker Engine HTTP API (v1.40) on its Unix socket: Docker and Podman both speak
/// it. Calls block at most `deadline_ms` each; an engine that does not answer is Code::engine. Not for a loop thread.
namespace epif::bridge {

/// One container as epif makes them: no network, read-only root, no capabilities, no new privileges, limits.
struct ContainerSpec {
  std::string name;
  std::string image;                               ///< reference or ID ("sha256:...")
  std::vector<std::string> command;                ///< empty: the image's own
  std::map<std::string, std::string> environment;  ///< never secrets: an engine shows them
  std::map<std::string, std::string> labels;
  std::uint32_t uid = 0;                           ///< not 0; also the gid
  std::filesystem::path mount_source;              ///< host folder, owned by uid, mode 0700
  std::string mount_target = "/run/epif";          ///< where it appears inside, writable
  std::filesystem::path seccomp;                   ///< profile file (JSON); empty: the engine's default profile
  std::uint64_t memory_bytes = limits::bf_memory_bytes;
  std::uint32_t processes = limits::bf_processes;
  std::uint32_t descriptors = limits::bf_descriptors;
};

struct ContainerState {
  std::string id;
  std::string name;   ///< without the leading slash
  std::string image;  ///< image ID, "sha256:..."
  bool running = false;
  std::int64_t pid = 0;  ///< in the host's pid namespace; 0 when not running
  std::int64_t exit_code = 0;
  std::map<std::string, std::string> labels;
};

struct ImageInfo {
  std::string id;                    ///< "sha256:...": the content, what a spec is pinned to
  std::vector<std::string> tags;     ///< "localhost/epif-bf:latest"
  std::vector<std::string> digests;  ///< "localhost/epif-bf@sha256:..."
};

class Engine {
 public:
  explicit Engine(std::filesystem::path socket, std::uint32_t deadline_ms = limits::engine_deadline_ms)
      : socket_(std::move(socket)), deadline_ms_(deadline_ms) {}

  /// It answers. Cheap: Podman asks its runtime and its monitor for their versions before it tells its own, which takes half
  /// a second; this question takes it a millisecond.
  [[nodiscard]] Result<> ping() const;

  /// Loads a docker-archive (see image.h) and returns what it holds. No network is used.
  [[nodiscard]] Result<ImageInfo> load_image(ByteSpan archive, std::string_view tag) const;
  /// Code::not_found when the image is not there.
  [[nodiscard]] Result<ImageInfo> inspect_image(std::string_view reference) const;
  /// The image that `pinned` ("sha256:..." or "NAME@sha256:...") names by its id or by the digest of its manifest, whichever
  /// the engine itself would understand there. Code::not_found when there is none, invalid_input when it is not pinned.
  [[nodiscard]] Result<ImageInfo> find_image(std::string_view pinned) const;
  [[nodiscard]] Result<> remove_image(std::string_view reference) const;

  /// Creates, does not start. Podman reads the seccomp file itself, Docker gets its content. Code::conflict if the name is taken. Returns the id.
  [[nodiscard]] Result<std::string> create(const ContainerSpec& spec) const;
  [[nodiscard]] Result<> start(std::string_view id) const;
  /// Code::not_found when there is none.
  [[nodiscard]] Result<ContainerState> inspect(std::string_view id_or_name) const;
  /// SIGKILL; a container that is not running is fine.
  [[nodiscard]] Result<> kill(std::string_view id) const;
  /// Kills and removes; one that is gone already is fine.
  [[nodiscard]] Result<> remove(std::string_view id) const;
  /// Containers (running or not) that carry all `labels`.
  [[nodiscard]] Result<std::vector<ContainerState>> list(const std::map<std::string, std::string>& labels) const;
  /// Standard output and error of a container, for messages on failure; at most 64 KiB.
  [[nodiscard]] Result<std::string> logs(std::string_view id) const;

  [[nodiscard]] const std::filesystem::path& socket() const { return socket_; }

 private:
  std::filesystem::path socket_;
  std::uint32_t deadline_ms_;
};

/// `podman system service` for a host where no engine listens, with storage and run folders inside `state`, so that
/// nothing is left outside of it. The service and its containers outlive this object (and a crash of the agent).
class EngineService {
 public:
  /// Starts the service, or adopts the one that already answers on `state`/engine.sock. Needs root and podman, runc.
  [[nodiscard]] static Result<EngineService> ensure(const std::filesystem::path& state);

  [[nodiscard]] const std::filesystem::path& socket() const { return socket_; }
  /// Ends the service; containers stay as they are.
  [[nodiscard]] Result<> stop();
  /// Removes every container and image of this storage, ends the service, unmounts and deletes `state`'s engine files.
  [[nodiscard]] Result<> destroy();

 private:
  EngineService(std::filesystem::path state, std::filesystem::path socket)
      : state_(std::move(state)), socket_(std::move(socket)) {}
  std::filesystem::path state_;
  std::filesystem::path socket_;
};

/// The seccomp profile (JSON, Docker form) for images with `trust: platform`: no `connect`, no socket family but AF_UNIX.
[[nodiscard]] std::string trusted_seccomp_profile();

}  // namespace epif::bridge
