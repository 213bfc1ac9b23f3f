#include "bridge/instance.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>

#include "base/fd.h"
#include "base/log.h"

namespace epif::bridge {
namespace {

constexpr std::uint32_t uid_first = 200'000;  // beyond what a host gives to people and services
constexpr std::uint32_t uid_count = 50'000;
constexpr std::string_view socket_inside = "/run/epif/bf.sock";

std::string digest_of(const InstanceSpec& spec) {
  std::string text = fmt::format("{}\n{}\n{}\n{}\n", spec.name, spec.function, spec.image, spec.trusted);
  for (const auto& [name, value] : spec.environment) text += fmt::format("{}={}\n", name, value);
  std::array<std::uint8_t, 32> hash{};
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), hash.data(), &length, EVP_sha256(), nullptr);
  return to_hex(ByteSpan(hash).first(16));
}

// Distinct for each instance of a host, and the same after a restart.
std::uint32_t uid_of(std::string_view owner, std::string_view name) {
  std::uint32_t hash = 2'166'136'261u;  // FNV-1a
  for (const auto part : {owner, std::string_view("/"), name})
    for (const char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 16'777'619u;
  return uid_first + hash % uid_count;
}

std::string container_name(std::string_view owner, std::string_view name) {
  std::string out = fmt::format("epif-{}-{}", owner, name);
  for (char& c : out)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) c = '-';
  return out;
}

bool listens(const std::filesystem::path& path) {
  const Fd handle(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat facts {};
  if (!handle || ::fstat(handle.get(), &facts) != 0 || !S_ISSOCK(facts.st_mode)) return false;
  const Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto by_handle = fmt::format("/proc/self/fd/{}", handle.get());
  std::memcpy(address.sun_path, by_handle.c_str(), by_handle.size() + 1);
  return fd && ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

Result<> make_folder(const std::filesystem::path& folder, std::uint32_t uid) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);  // a dead predecessor's socket, or what it put in its place
  std::filesystem::create_directories(folder, error);
  if (error) return fail(Code::io, "cannot make the folder of a bridging function", folder.string(), error.message());
  if (::chmod(folder.c_str(), 0700) != 0 || ::chown(folder.c_str(), uid, uid) != 0)
    return fail(system_error(errno, "cannot give the folder to its bridging function", folder.string()));
  return {};
}

// Waits until it listens; its death ends the wait at once.
Result<> await_listening(const Engine& engine, const std::string& id, std::int64_t pid, const std::filesystem::path& socket) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limits::bf_start_deadline_ms);
  while (!listens(socket)) {
    if (!process_alive(pid)) {
      const auto said = engine.logs(id);
      return fail(Code::bf_failed, "bridging function ended right after its start", id.substr(0, 12), said ? *said : "");
    }
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Code::timeout, "bridging function does not listen", socket.string(),
                  fmt::format("waited {} ms", limits::bf_start_deadline_ms), "it must listen on EPIF_BF_SOCKET");
    ::poll(nullptr, 0, 2);
  }
  return {};
}

}  // namespace

bool process_alive(std::int64_t pid) {
  if (pid <= 0) return false;
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return false;
  const auto name_end = line.rfind(')');
  return name_end != std::string::npos && name_end + 2 < line.size() && line[name_end + 2] != 'Z' && line[name_end + 2] != 'X';
}

Instances::Instances(Engine engine, std::string owner, std::filesystem::path state)
    : engine_(std::move(engine)), owner_(std::move(owner)), state_(std::move(state)) {}

Result<RunningInstance> Instances::find(const std::string& name) const {
  const auto container = engine_.inspect(container_name(owner_, name));
  if (!container) return fail(container.error());
  const auto socket = state_ / "bf" / name / "bf.sock";
  if (!container->running || !process_alive(container->pid))
    return fail(Code::not_found, "bridging function does not run", name, fmt::format("exit code {}", container->exit_code));
  return RunningInstance{name, socket, container->pid, container->image, container->id};
}

Result<RunningInstance> Instances::ensure_running(const InstanceSpec& spec) {
  const auto digest = digest_of(spec);
  const auto name = container_name(owner_, spec.name);
  const auto folder = state_ / "bf" / spec.name;
  if (const auto present = engine_.inspect(name)) {
    const auto label = present->labels.find("epif.spec");
    const bool same = label != present->labels.end() && label->second == digest;
    if (same && present->running && process_alive(present->pid) && listens(folder / "bf.sock"))
      return RunningInstance{spec.name, folder / "bf.sock", present->pid, present->image, present->id};
    if (auto removed = remove(spec.name); !removed) return fail(removed.error());
  } else if (present.error().code != Code::not_found) {
    return fail(present.error());
  }

  const auto image = engine_.find_image(spec.image);
  if (!image) return fail(image.error());
  ContainerSpec container;
  container.name = name;
  container.image = image->id.substr(image->id.find(':') + 1);  // Podman 4.3 takes an id only without its algorithm
  container.environment = spec.environment;
  container.environment["EPIF_BF_FUNCTION"] = spec.function;
  container.environment["EPIF_BF_SOCKET"] = socket_inside;
  container.labels = {{"epif.owner", owner_}, {"epif.instance", spec.name}, {"epif.spec", digest}};
  container.uid = uid_of(owner_, spec.name);
  container.mount_source = std::filesystem::absolute(folder);
  if (auto made = make_folder(folder, container.uid); !made) return fail(made.error());
  if (spec.trusted) {
    container.seccomp = state_ / "seccomp-trusted.json";
    std::ofstream profile(container.seccomp);
    if (!(profile << trusted_seccomp_profile() << std::flush))
      return fail(Code::io, "cannot write the seccomp profile", container.seccomp.string());
  }
  const auto undo = [&](const Error& error) {
    static_cast<void>(remove(spec.name));
    return fail(error);
  };
  const auto id = engine_.create(container);
  if (!id) return undo(id.error());
  if (auto started = engine_.start(*id); !started) return undo(started.error());
  const auto state = engine_.inspect(*id);
  if (!state) return undo(state.error());
  if (auto ready = await_listening(engine_, *id, state->pid, folder / "bf.sock"); !ready) return undo(ready.error());
  return RunningInstance{spec.name, folder / "bf.sock", state->pid, state->image, *id};
}

Result<> Instances::remove(const std::string& name) {
  if (auto removed = engine_.remove(container_name(owner_, name)); !removed) return removed;
  std::error_code error;
  std::filesystem::remove_all(state_ / "bf" / name, error);
  if (error) return fail(Code::io, "cannot remove the folder of a bridging function", (state_ / "bf" / name).string(), error.message());
  return {};
}

Result<> Instances::remove_others(const std::vector<std::string>& keep) {
  const auto containers = engine_.list({{"epif.owner", owner_}});
  if (!containers) return fail(containers.error());
  for (const auto& container : *containers) {
    const auto label = container.labels.find("epif.instance");
    const auto name = label == container.labels.end() ? std::string{} : label->second;
    if (std::find(keep.begin(), keep.end(), name) != keep.end()) continue;
    if (auto removed = engine_.remove(container.id); !removed) return removed;
    std::error_code ignored;
    if (!name.empty()) std::filesystem::remove_all(state_ / "bf" / name, ignored);
  }
  return {};
}

}  // namespace epif::bridge
