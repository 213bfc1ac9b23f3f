#include "net/udp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "net/tcp.h"

namespace epif::net {
namespace {

bool on(int fd, int level, int option, int value = 1) { return ::setsockopt(fd, level, option, &value, sizeof value) == 0; }

constexpr int loopback_index = 1;  // LOOPBACK_IFINDEX of linux/if.h, in every network namespace

template <class Info>
Info info_in(const cmsghdr& control) {
  Info info{};
  std::memcpy(&info, CMSG_DATA(&control), sizeof info);
  return info;
}

/// True if the device that it came by is loopback.
bool came_over_loopback(msghdr& message) {
  for (auto* control = CMSG_FIRSTHDR(&message); control != nullptr; control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level == SOL_IP && control->cmsg_type == IP_PKTINFO) return info_in<in_pktinfo>(*control).ipi_ifindex == loopback_index;
    if (control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_PKTINFO) return info_in<in6_pktinfo>(*control).ipi6_ifindex == loopback_index;
  }
  return false;
}

/// The original destination among the control messages.
std::optional<SocketAddress> destination_of(msghdr& message) {
  for (auto* control = CMSG_FIRSTHDR(&message); control != nullptr; control = CMSG_NXTHDR(&message, control)) {
    const bool four = control->cmsg_level == SOL_IP && control->cmsg_type == IP_RECVORIGDSTADDR;
    const bool six = control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_RECVORIGDSTADDR;
    if (!four && !six) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, CMSG_DATA(control), four ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    return from_sockaddr(storage);
  }
  return {};
}

}  // namespace

Result<Fd> udp_socket(const SocketAddress& at, const UdpOptions& options) {
  const bool six = at.ip.is_v6();
  Fd fd(::socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(system_error(errno, "cannot make a socket", at.text()));
  bool done = !six || on(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (options.mark) done = done && on(fd.get(), SOL_SOCKET, SO_MARK, static_cast<int>(*options.mark));
  if (options.transparent) done = done && (six ? on(fd.get(), SOL_IPV6, IPV6_TRANSPARENT) : on(fd.get(), SOL_IP, IP_TRANSPARENT));
  if (options.original_destination) {
    done = done && (six ? on(fd.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR) : on(fd.get(), SOL_IP, IP_RECVORIGDSTADDR));
    done = done && (six ? on(fd.get(), SOL_IPV6, IPV6_RECVPKTINFO) : on(fd.get(), SOL_IP, IP_PKTINFO));
  }
  if (options.reuse_port) done = done && on(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  if (options.reuse_address) done = done && on(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  if (!done) return fail(system_error(errno, "cannot set up a datagram socket", at.text()));
  sockaddr_storage storage{};
  const auto length = to_sockaddr(at, storage);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail(system_error(errno, "cannot bind a datagram socket", at.text()));
  }
  return fd;
}

std::optional<Received> receive_datagram(int fd, MutableByteSpan buffer, bool& would_block) {
  sockaddr_storage from{};
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<char, 256> control;
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto got = ::recvmsg(fd, &message, MSG_DONTWAIT);
  would_block = got < 0 && errno == EAGAIN;
  if (got < 0 || (message.msg_flags & MSG_TRUNC) != 0) return {};
  return Received{ByteSpan(buffer).first(static_cast<std::size_t>(got)), from_sockaddr(from),
                  destination_of(message).value_or(SocketAddress{}), came_over_loopback(message)};
}

bool send_datagram(int fd, ByteSpan payload, const SocketAddress& to) {
  sockaddr_storage storage{};
  const auto length = to_sockaddr(to, storage);
  return ::sendto(fd, payload.data(), payload.size(), MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&storage), length) >= 0;
}

}  // namespace epif::net
