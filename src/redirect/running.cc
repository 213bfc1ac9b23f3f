#include "redirect/running.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "net/unix_socket.h"

namespace epif::redirect {
namespace {

std::string claim_name(std::uint16_t port) { return fmt::format("epif-redirect-{}", port); }

std::string draining_prefix(std::uint16_t port) { return claim_name(port) + "-drains-"; }

struct AbstractName {
  sockaddr_un address{};
  socklen_t length = 0;
  explicit AbstractName(const std::string& name) {
    assert(name.size() + 1 < sizeof address.sun_path);
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());  // a leading NUL makes it abstract
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

/// Bound and listening; nobody ever accepts. Errors: address_in_use (the bare error), io.
Result<Fd> hold(const std::string& name) {
  const AbstractName address(name);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail(system_error(errno, "cannot make a socket"));
  if (bind(socket.get(), address.get(), address.length) != 0 || listen(socket.get(), SOMAXCONN) != 0) {
    return fail(system_error(errno, "cannot claim the port", name));
  }
  return socket;
}

struct Holder {
  std::int64_t pid = 0;
  Fd process{};  ///< none: it has ended, and somebody else has a copy of the socket
};

/// Who listened last at that name; nothing if the name is free. Errors: permission (a process that cannot be seen from here).
Result<std::optional<Holder>> holder(const std::string& name) {
  const AbstractName address(name);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail(system_error(errno, "cannot make a socket"));
  if (connect(socket.get(), address.get(), address.length) != 0) return std::nullopt;
  auto peer = net::peer_credentials(socket.get());
  if (!peer) return fail(std::move(peer.error()));
  if (peer->pid == 0) {
    return fail(Code::permission, "the running redirector cannot be seen from here", name, "it belongs to another process namespace", "stop it there");
  }
  return Holder{peer->pid, Fd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(peer->pid), 0)))};
}

/// False if it has ended already.
Result<bool> send_signal(const Holder& to, int signal) {
  if (syscall(SYS_pidfd_send_signal, to.process.get(), signal, nullptr, 0) == 0) return true;
  if (errno == ESRCH) return false;
  return fail(system_error(errno, "cannot stop the running redirector", fmt::format("process {}", to.pid)));
}

bool ends_by(const Holder& process, net::TimePoint deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - net::Clock::now());
  pollfd ended{process.process.get(), POLLIN, 0};
  return poll(&ended, 1, static_cast<int>(std::max<std::int64_t>(0, left.count()))) == 1;
}

std::vector<std::string> names_of_draining(std::uint16_t port) {
  const auto prefix = draining_prefix(port);
  std::vector<std::string> names;
  std::ifstream sockets("/proc/thread-self/net/unix");  // of this network namespace; an abstract name is shown behind an @
  for (std::string line; std::getline(sockets, line);) {
    const auto at = line.find(" @" + prefix);
    if (at != line.npos) names.push_back(line.substr(at + 2));
  }
  std::ranges::sort(names);
  const auto twice = std::ranges::unique(names);  // those who connected to it are listed under its name as well
  names.erase(twice.begin(), twice.end());
  return names;
}

}  // namespace

Result<Fd> claim(std::uint16_t listen_port) {
  auto held = hold(claim_name(listen_port));
  if (held || held.error().code != Code::address_in_use) return held;
  return fail(Code::address_in_use, "another redirector runs", fmt::format("port {}", listen_port), "",
              "stop it with `epif redirect --uninstall`, or choose another --listen-port");
}

Result<> renew_claim(const Fd& claim) {
  // The kernel names as the peer of a connection whoever called listen() last.
  if (listen(claim.get(), SOMAXCONN) != 0) return fail(system_error(errno, "cannot claim the port"));
  return {};
}

Result<Fd> claim_draining(std::uint16_t listen_port) {
  // Processes of several process namespaces may share a network namespace, so their numbers alone could be the same.
  std::uint64_t chance = 0;
  if (getrandom(&chance, sizeof chance, 0) != sizeof chance) return fail(system_error(errno, "cannot draw a random number"));
  return hold(fmt::format("{}{}-{:x}", draining_prefix(listen_port), getpid(), chance));
}

Result<bool> stop_running(std::uint16_t listen_port) {
  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::stop_deadline_ms);
  for (bool found = false;; found = true) {
    auto running = holder(claim_name(listen_port));
    if (!running) return fail(std::move(running.error()));
    if (!*running) return found;
    const auto& [pid, process] = **running;
    if (process) {
      if (auto sent = send_signal(**running, SIGTERM); !sent) return fail(std::move(sent.error()));
      if (!ends_by(**running, deadline)) {
        return fail(Code::timeout, "the running redirector does not stop", fmt::format("process {}", pid));
      }
      continue;
    }
    // A successor has the socket in hand, and is about to serve or to give up.
    if (net::Clock::now() >= deadline) return fail(Code::timeout, "a successor neither serves nor ends", fmt::format("port {}", listen_port));
    poll(nullptr, 0, static_cast<int>(limits::handover_look_ms));
  }
}

Result<> stop_draining(std::uint16_t listen_port) {
  std::vector<Holder> left;
  for (const auto& name : names_of_draining(listen_port)) {
    auto found = holder(name);
    if (!found) return fail(std::move(found.error()));
    if (*found && (*found)->process) left.push_back(std::move(**found));
  }
  // First with the chance to say why it ends, then without: one that hangs would keep all of them for ever.
  for (const auto& [signal, patience_ms] : {std::pair{SIGTERM, limits::drain_deadline_ms}, std::pair{SIGKILL, limits::cut_deadline_ms}}) {
    for (const auto& process : left) {
      if (signal == SIGKILL) log::warn("redirect", "a process that drains does not stop; it is killed", {{"pid", std::to_string(process.pid)}});
      if (auto sent = send_signal(process, signal); !sent) return fail(std::move(sent.error()));
    }
    const auto deadline = net::Clock::now() + std::chrono::milliseconds(patience_ms);
    std::erase_if(left, [&](const Holder& process) { return ends_by(process, deadline); });
    if (left.empty()) return {};
  }
  return fail(Code::timeout, "a process that drains cannot be ended", fmt::format("process {}", left.front().pid),
              "its flows hold to the rules, which stay", "end it, then `epif redirect --uninstall`");
}

}  // namespace epif::redirect
