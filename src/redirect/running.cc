#include "redirect/running.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstring>

#include "base/limits.h"
#include "net/unix_socket.h"

namespace epif::redirect {
namespace {

struct AbstractName {
  sockaddr_un address{};
  socklen_t length = 0;
  explicit AbstractName(std::uint16_t port) {
    const auto name = fmt::format("epif-redirect-{}", port);
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());  // a leading NUL makes it abstract
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

}  // namespace

Result<Fd> claim(std::uint16_t listen_port) {
  const AbstractName name(listen_port);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail(system_error(errno, "cannot make a socket"));
  if (bind(socket.get(), name.get(), name.length) != 0) {
    if (errno != EADDRINUSE) return fail(system_error(errno, "cannot claim the port", fmt::format("port {}", listen_port)));
    return fail(Code::address_in_use, "another redirector runs", fmt::format("port {}", listen_port), "",
                "stop it with `epif redirect --uninstall`, or choose another --listen-port");
  }
  if (listen(socket.get(), 8) != 0) return fail(system_error(errno, "cannot claim the port"));
  return socket;
}

Result<> renew_claim(const Fd& claim) {
  // The kernel names as the peer of a connection whoever called listen() last.
  if (listen(claim.get(), 8) != 0) return fail(system_error(errno, "cannot claim the port"));
  return {};
}

Result<bool> stop_running(std::uint16_t listen_port) {
  const AbstractName name(listen_port);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail(system_error(errno, "cannot make a socket"));
  if (connect(socket.get(), name.get(), name.length) != 0) return false;
  auto peer = net::peer_credentials(socket.get());
  if (!peer) return fail(std::move(peer.error()));
  const auto pid = static_cast<pid_t>(peer->pid);
  const Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return false;  // it ended meanwhile
  if (syscall(SYS_pidfd_send_signal, process.get(), SIGTERM, nullptr, 0) != 0) {
    if (errno == ESRCH) return false;
    return fail(system_error(errno, "cannot stop the running redirector", fmt::format("process {}", pid)));
  }
  pollfd ended{process.get(), POLLIN, 0};
  if (poll(&ended, 1, static_cast<int>(limits::stop_deadline_ms)) != 1) {
    return fail(Code::timeout, "the running redirector does not stop", fmt::format("process {}", pid));
  }
  return true;
}

}  // namespace epif::redirect
