#include "nginx/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/limits.h"

extern char** environ;

namespace epif::nginx {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::optional<NginxProcess> read_process(const fs::path& entry, const std::string& folder) {
  NginxProcess found;
  const auto name = entry.filename().string();
  if (std::from_chars(name.data(), name.data() + name.size(), found.pid).ptr != name.data() + name.size()) return {};
  // The handle first: what is read after it is of the process that it holds, or the process has ended.
  found.handle = Fd(static_cast<int>(::syscall(SYS_pidfd_open, found.pid, 0)));
  std::error_code failure;
  const auto where = fs::read_symlink(entry / "cwd", failure);
  if (!found.handle || failure || where != folder) return {};
  std::ifstream file(entry / "stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (close == std::string::npos || text.substr(open + 1, close - open - 1) != "nginx") return {};
  std::istringstream rest(text.substr(close + 2));
  rest >> found.state >> found.parent;
  return found;
}

bool runs(const NginxProcess& process) {
  return process.state != 'Z' && process.state != 'X';
}

void send(const NginxProcess& process, int signal) {
  ::syscall(SYS_pidfd_send_signal, process.handle.get(), signal, nullptr, 0);
}

/// Repeats `signal` to all that are not `done` yet, until all are. A process may fork while it is looked for.
Result<> until(const std::string& folder, int signal, const std::function<bool(const NginxProcess&)>& done) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(limits::nginx_ready_ms);
  while (Clock::now() < deadline) {
    bool all = true;
    for (const auto& process : processes_in(folder)) {
      if (!runs(process) || done(process)) continue;
      send(process, signal);
      all = false;
    }
    if (all) return {};
    ::sched_yield();
  }
  return fail(Code::timeout, "NGINX does not obey", folder);
}

struct Actions {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  explicit Actions(const std::string& folder, int output) {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addchdir_np(&files, folder.c_str());
    ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (output >= 0) {
      ::posix_spawn_file_actions_adddup2(&files, output, 1);
      ::posix_spawn_file_actions_adddup2(&files, output, 2);
    }
    ::posix_spawn_file_actions_addclosefrom_np(&files, 3);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Actions() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
};

Result<int> spawn(const std::string& folder, const std::vector<std::string>& command, int output) {
  std::vector<char*> words;
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const Actions actions(folder, output);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, words.front(), &actions.files, &actions.attributes, words.data(), environ);
  if (error != 0) return fail(system_error(error, "cannot start NGINX", command.front()));
  return pid;
}

}  // namespace

std::vector<NginxProcess> processes_in(const std::string& folder) {
  std::vector<NginxProcess> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    if (auto process = read_process(entry.path(), folder)) all.push_back(std::move(*process));
  }
  return all;
}

const NginxProcess* master_of(const std::vector<NginxProcess>& all) {
  const NginxProcess* master = nullptr;
  for (const auto& process : all) {
    const bool child = std::ranges::any_of(all, [&](const auto& other) { return other.pid == process.parent; });
    // With its master dead a worker has no parent among them either; a master has children.
    const bool parent = std::ranges::any_of(all, [&](const auto& other) { return other.parent == process.pid; });
    if (!child && parent && runs(process)) master = &process;
  }
  return master;
}

Result<> freeze(const std::string& folder) {
  return until(folder, SIGSTOP, [](const NginxProcess& process) { return process.state == 'T'; });
}

void thaw(const std::string& folder) {
  for (const auto& process : processes_in(folder)) send(process, SIGCONT);
}

Result<> kill_all(const std::string& folder) {
  auto killed = until(folder, SIGKILL, [](const NginxProcess&) { return false; });
  for (const auto& process : processes_in(folder))
    ::waitid(P_PID, static_cast<id_t>(process.pid), nullptr, WEXITED | WNOHANG);
  return killed;
}

std::set<std::uint64_t> sockets_of(const std::string& folder) {
  std::set<std::uint64_t> inodes;
  for (const auto& process : processes_in(folder)) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(process.pid) + "/fd", ignored)) {
      const auto target = fs::read_symlink(entry.path(), ignored).string();
      constexpr std::string_view prefix = "socket:[";
      std::uint64_t inode = 0;
      if (!target.starts_with(prefix)) continue;
      if (std::from_chars(target.data() + prefix.size(), target.data() + target.size(), inode).ec == std::errc{})
        inodes.insert(inode);
    }
  }
  return inodes;
}

Result<int> start_in(const std::string& folder, const std::vector<std::string>& command) {
  return spawn(folder, command, -1);
}

Result<> run_in(const std::string& folder, const std::vector<std::string>& command) {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error(errno, "cannot listen to NGINX"));
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  auto pid = spawn(folder, command, writing.get());
  writing.reset();
  if (!pid) return fail(pid.error());
  std::string words;
  const auto deadline = Clock::now() + std::chrono::milliseconds(limits::nginx_ready_ms);
  for (std::array<char, 4096> part;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd look{reading.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&look, 1, static_cast<int>(left)) <= 0) {
      ::kill(*pid, SIGKILL);
      break;
    }
    const auto got = ::read(reading.get(), part.data(), part.size());
    if (got <= 0) break;
    if (words.size() < 4096) words.append(part.data(), static_cast<std::size_t>(got));
  }
  siginfo_t how{};
  ::waitid(P_PID, static_cast<id_t>(*pid), &how, WEXITED);
  if (how.si_code == CLD_EXITED && how.si_status == 0) return {};
  while (!words.empty() && words.back() == '\n') words.pop_back();
  std::ranges::replace(words, '\n', ' ');
  return fail(Code::invalid_input, "NGINX refuses its configuration", folder + "/nginx.conf.new", words);
}

}  // namespace epif::nginx
