#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <sstream>

#include "base/fd.h"
#include "bridge/engine.h"
#include "bridge/instance.h"

namespace epif::bridge {
namespace {

constexpr std::uint32_t service_start_ms = 10'000;

std::filesystem::path engine_folder(const std::filesystem::path& state) { return state / "engine"; }

// podman refuses a run folder of more than 50 characters, so a deep `folder` gets one in /run, named after itself.
std::filesystem::path run_folder(const std::filesystem::path& folder) {
  constexpr std::size_t podman_limit = 50;
  const auto beside = folder / "run";
  if (beside.string().size() <= podman_limit) return beside;
  std::uint64_t hash = 14695981039346656037ull;  // FNV-1a
  for (const char c : folder.string()) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return fmt::format("/run/epif-{:016x}", hash);
}

// Everything of podman that would otherwise lie in /var, /run and /etc is told to lie in `folder`.
std::vector<std::string> service_arguments(const std::filesystem::path& folder, const std::filesystem::path& socket) {
  return {"podman", "--root", folder / "storage", "--runroot", run_folder(folder), "--tmpdir", folder / "tmp",
          "--network-config-dir", folder / "networks", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
          "--runtime", "runc", "system", "service", "--time", "0", "unix://" + socket.string()};
}

Result<pid_t> spawn_service(const std::filesystem::path& folder, const std::filesystem::path& socket) {
  auto arguments = service_arguments(folder, socket);
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const auto log = (folder / "service.log").string();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);  // it outlives us and must hold nothing of ours
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, "podman", &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail(Code::engine, "cannot start podman", "podman", std::strerror(error), "install podman and runc (tools/setup)");
  return pid;
}

// Processes one of whose arguments is `argument` (only the last one, if `at_end`): they are found again whoever started them.
std::vector<pid_t> processes_with(const std::string& argument, bool at_end) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const auto name = entry.path().filename().string();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    std::string one, last;
    bool any = false;
    while (std::getline(file, one, '\0')) any |= (last = one) == argument;
    if (at_end ? last == argument : any) found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

// The process that serves `socket`.
std::vector<pid_t> service_processes(const std::filesystem::path& socket) {
  return processes_with("unix://" + socket.string(), true);
}

std::string tail_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::stringstream all;
  all << in.rdbuf();
  const auto text = all.str();
  return text.substr(text.size() - std::min<std::size_t>(text.size(), 300));
}

// Mount points below `folder`, deepest first.
std::vector<std::string> mounts_below(const std::filesystem::path& folder) {
  std::vector<std::string> found;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (point.starts_with(folder.string() + "/")) found.push_back(point);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  return found;
}

// A container whose monitor was killed leaves its control groups, in each hierarchy (v1) or the only one (v2): nobody else
// removes them. One that is in use stays.
void remove_control_groups(const std::string& container) {
  std::vector<std::filesystem::path> hierarchies{"/sys/fs/cgroup"};
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/fs/cgroup", error))
    if (entry.is_directory(error)) hierarchies.push_back(entry.path());
  for (const auto& hierarchy : hierarchies) ::rmdir((hierarchy / "libpod_parent" / ("libpod-" + container)).c_str());
}

}  // namespace

Result<EngineService> EngineService::ensure(const std::filesystem::path& state) {
  const auto folder = engine_folder(std::filesystem::absolute(state));
  const auto socket = folder / "engine.sock";
  if (::geteuid() != 0) return fail(Code::permission, "starting a container engine needs root", "podman", {}, "run as root");
  constexpr std::uint32_t quick_ms = 2'000;
  if (Engine(socket, quick_ms).ping()) return EngineService(state, socket);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(Code::io, "cannot make the engine's folder", folder.string(), error.message());
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  std::filesystem::remove(socket, error);
  const auto pid = spawn_service(folder, socket);
  if (!pid) return fail(pid.error());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(service_start_ms);
  while (!Engine(socket, quick_ms).ping()) {
    const bool ended = ::waitpid(*pid, nullptr, WNOHANG) == *pid;
    if (ended || std::chrono::steady_clock::now() >= deadline) {
      if (!ended) ::kill(*pid, SIGKILL), ::waitpid(*pid, nullptr, 0);
      return fail(Code::engine, "podman does not serve its API", socket.string(), tail_of(folder / "service.log"));
    }
    ::poll(nullptr, 0, 5);
  }
  return EngineService(state, socket);
}

Result<> EngineService::stop() {
  for (const auto pid : service_processes(socket_)) {
    ::kill(pid, SIGTERM);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (process_alive(pid) && std::chrono::steady_clock::now() < deadline) {
      ::waitpid(pid, nullptr, WNOHANG);  // our child, unless an earlier agent started it
      ::poll(nullptr, 0, 5);
    }
    if (process_alive(pid)) ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, WNOHANG);
  }
  std::error_code ignored;
  std::filesystem::remove(socket_, ignored);
  return {};
}

Result<> EngineService::destroy() {
  const Engine engine(socket_);
  const auto containers = engine.list({});
  if (containers) {
    for (const auto& container : *containers)
      if (auto removed = engine.remove(container.id); !removed) return removed;
  }
  if (auto stopped = stop(); !stopped) return stopped;
  const auto folder = engine_folder(std::filesystem::absolute(state_));
  // A container's monitor cleans up on its own after the removal: it makes the folders and mounts the storage once more.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(service_start_ms);
  while (!processes_with(folder / "storage", false).empty() && std::chrono::steady_clock::now() < deadline) ::poll(nullptr, 0, 10);
  if (containers)
    for (const auto& container : *containers) remove_control_groups(container.id);
  for (const auto& part : {run_folder(folder), folder}) {
    for (;;) {
      for (const auto& point : mounts_below(part)) ::umount2(point.c_str(), MNT_DETACH);
      std::error_code error;
      std::filesystem::remove_all(part, error);
      if (!error) break;
      if (std::chrono::steady_clock::now() >= deadline)
        return fail(Code::io, "cannot remove the engine's files", part.string(), error.message());
      ::poll(nullptr, 0, 20);
    }
  }
  return {};
}

}  // namespace epif::bridge
