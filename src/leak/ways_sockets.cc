#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/fd.h"
#include "leak/packet.h"
#include "leak/ways.h"
#include "net/tcp.h"

// Ways that any program has: its own sockets.
namespace epif::leak {
namespace {

/// A connection towards a listener of this node stands at once; one that waits longer than this goes nowhere.
constexpr int connect_wait_ms = 300;
constexpr int answer_wait_ms = 100;

struct Place {
  sockaddr_storage storage{};
  socklen_t length = 0;
  explicit Place(const SocketAddress& address) : length(net::to_sockaddr(address, storage)) {}
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress place_of(const Probe& probe) { return {probe.to, probe.port}; }
int family_of(const Probe& probe) { return probe.to.is_v6() ? AF_INET6 : AF_INET; }
ByteSpan token_of(const Probe& probe) { return as_bytes(probe.token); }

/// Lets an attempt come to something: connected, refused, or nothing within its time; then speaks, and waits for a reaction.
Attempt finish_connection(const Fd& socket, ByteSpan data) {
  Attempt made{.from_port = net::local_address(socket.get()).port};
  pollfd ready{socket.get(), POLLOUT, 0};
  if (::poll(&ready, 1, connect_wait_ms) != 1 || (ready.revents & (POLLERR | POLLHUP)) != 0) return made;
  static_cast<void>(!::send(socket.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  ready.events = POLLIN;
  ::poll(&ready, 1, answer_wait_ms);
  return made;
}

Attempt connect_with(const Probe& probe, const Fd& socket, const SocketAddress& to, ByteSpan data) {
  if (!socket) return impossible(std::strerror(errno));
  const Place place(to);
  if (::connect(socket.get(), place.get(), place.length) != 0 && errno != EINPROGRESS) {
    const auto error = errno;
    auto made = refused(error);
    made.from_port = net::local_address(socket.get()).port;
    return made;
  }
  static_cast<void>(probe);
  return finish_connection(socket, data);
}

Fd stream_socket(int family, int protocol = 0) { return Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol)); }

bool bind_to_device(const Fd& socket, const Probe& probe) {
  return ::setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, probe.device.name.data(), static_cast<socklen_t>(probe.device.name.size())) == 0;
}
bool set_mark(const Fd& socket, std::uint32_t mark) {
  return ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0;
}

Attempt tcp(const Probe& probe) { return connect_with(probe, stream_socket(family_of(probe)), place_of(probe), token_of(probe)); }

Attempt tcp_fast_open(const Probe& probe) {
  const auto socket = stream_socket(family_of(probe));
  const Place place(place_of(probe));
  const auto sent = ::sendto(socket.get(), probe.token.data(), probe.token.size(), MSG_FASTOPEN | MSG_NOSIGNAL, place.get(), place.length);
  if (sent < 0 && errno != EINPROGRESS) return after_send(sent);
  return finish_connection(socket, token_of(probe));
}

Attempt tcp_on_device(const Probe& probe) {
  const auto socket = stream_socket(family_of(probe));
  if (!bind_to_device(socket, probe)) return impossible("SO_BINDTODEVICE: " + std::string(std::strerror(errno)));
  return connect_with(probe, socket, place_of(probe), token_of(probe));
}

Attempt tcp_mapped(const Probe& probe) {
  Bytes mapped(16);
  mapped[10] = mapped[11] = 0xff;
  std::ranges::copy(probe.to.bytes(), mapped.begin() + 12);
  return connect_with(probe, stream_socket(AF_INET6), {IpAddress::v6(mapped), probe.port}, token_of(probe));
}

Attempt tcp_marked(const Probe& probe) {
  const auto socket = stream_socket(family_of(probe));
  if (!set_mark(socket, probe.mark)) return impossible("SO_MARK: " + std::string(std::strerror(errno)));
  return connect_with(probe, socket, place_of(probe), token_of(probe));
}

Attempt multipath_tcp(const Probe& probe) {
  constexpr int mptcp = 262;
  return connect_with(probe, stream_socket(family_of(probe), mptcp), place_of(probe), token_of(probe));
}

Attempt dns_over_tcp(const Probe& probe) {
  return connect_with(probe, stream_socket(family_of(probe)), place_of(probe), dns_query(probe.token, true));
}

Attempt send_datagram(const Fd& socket, const SocketAddress& to, ByteSpan data) {
  if (!socket) return impossible(std::strerror(errno));
  const Place place(to);
  return after_send(::sendto(socket.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT, place.get(), place.length));
}

Fd datagram_socket(int family, int protocol = 0) { return Fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, protocol)); }

Attempt udp(const Probe& probe) { return send_datagram(datagram_socket(family_of(probe)), place_of(probe), token_of(probe)); }

Attempt udp_connected(const Probe& probe) {
  const auto socket = datagram_socket(family_of(probe));
  const Place place(place_of(probe));
  if (::connect(socket.get(), place.get(), place.length) != 0) return after_send(-1);
  return after_send(::send(socket.get(), probe.token.data(), probe.token.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

Attempt udp_on_device(const Probe& probe) {
  const auto socket = datagram_socket(family_of(probe));
  if (!bind_to_device(socket, probe)) return impossible("SO_BINDTODEVICE: " + std::string(std::strerror(errno)));
  return send_datagram(socket, place_of(probe), token_of(probe));
}

Attempt udp_marked(const Probe& probe) {
  const auto socket = datagram_socket(family_of(probe));
  if (!set_mark(socket, probe.mark)) return impossible("SO_MARK: " + std::string(std::strerror(errno)));
  return send_datagram(socket, place_of(probe), token_of(probe));
}

Attempt udp_mapped(const Probe& probe) {
  Bytes mapped(16);
  mapped[10] = mapped[11] = 0xff;
  std::ranges::copy(probe.to.bytes(), mapped.begin() + 12);
  return send_datagram(datagram_socket(AF_INET6), {IpAddress::v6(mapped), probe.port}, token_of(probe));
}

/// As anyone may: the socket names the destination, its options what comes first (RFC 791).
Attempt udp_source_routed(const Probe& probe) {
  const auto socket = datagram_socket(AF_INET);
  const auto options = source_route(probe.via);
  if (::setsockopt(socket.get(), IPPROTO_IP, IP_OPTIONS, options.data(), static_cast<socklen_t>(options.size())) != 0) {
    return impossible("IP_OPTIONS: " + std::string(std::strerror(errno)));
  }
  return send_datagram(socket, place_of(probe), token_of(probe));
}

Attempt quic(const Probe& probe) { return send_datagram(datagram_socket(family_of(probe)), place_of(probe), quic_initial(probe.token)); }

Attempt dns_over_udp(const Probe& probe) {
  return send_datagram(datagram_socket(family_of(probe)), place_of(probe), dns_query(probe.token, false));
}

Bytes name_question(const Probe& probe, bool over_tcp) {
  return probe.named ? dns_question(probe.token, over_tcp) : dns_query(probe.token, over_tcp);
}
/// Waits for the answer, as who asks does: to one that comes to a closed port the kernel replies by ICMP, with the name in it.
Attempt name_over_udp(const Probe& probe) {
  const auto socket = datagram_socket(family_of(probe));
  auto made = send_datagram(socket, place_of(probe), name_question(probe, false));
  pollfd ready{socket.get(), POLLIN, 0};
  if (made.outcome == Attempt::Outcome::sent) ::poll(&ready, 1, answer_wait_ms);
  return made;
}
Attempt name_over_tcp(const Probe& probe) {
  return connect_with(probe, stream_socket(family_of(probe)), place_of(probe), name_question(probe, true));
}

Attempt udp_lite(const Probe& probe) {
  const auto socket = datagram_socket(family_of(probe), IPPROTO_UDPLITE);
  if (!socket) return impossible("the kernel has no UDP-Lite sockets");
  return send_datagram(socket, place_of(probe), token_of(probe));
}

Attempt sctp(const Probe& probe) {
  const Fd socket(::socket(family_of(probe), SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_SCTP));
  if (!socket) return impossible("the kernel has no SCTP sockets");
  return send_datagram(socket, place_of(probe), token_of(probe));
}

Attempt dccp(const Probe& probe) {
  const Fd socket(::socket(family_of(probe), SOCK_DCCP | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_DCCP));
  if (!socket) return impossible("the kernel has no DCCP sockets");
  return connect_with(probe, socket, place_of(probe), {});
}

/// Echo without privileges, where net.ipv4.ping_group_range permits it.
Attempt ping(const Probe& probe) {
  const bool v6 = probe.to.is_v6();
  const auto socket = datagram_socket(family_of(probe), v6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP));
  if (!socket) return impossible("net.ipv4.ping_group_range does not include this group");
  return send_datagram(socket, {probe.to, 0}, echo_request({probe.from, probe.to}, token_of(probe)));
}

constexpr std::array ways{
    Way{.name = "tcp", .send = tcp},
    Way{.name = "tcp-fast-open", .send = tcp_fast_open},
    Way{.name = "tcp-bound-to-device", .send = tcp_on_device},
    Way{.name = "tcp-marked", .send = tcp_marked},
    Way{.name = "tcp-v4-mapped", .send = tcp_mapped, .v6 = false},
    Way{.name = "mptcp", .send = multipath_tcp},
    Way{.name = "udp", .send = udp},
    Way{.name = "udp-connected", .send = udp_connected},
    Way{.name = "udp-bound-to-device", .send = udp_on_device},
    Way{.name = "udp-marked", .send = udp_marked},
    Way{.name = "udp-v4-mapped", .send = udp_mapped, .v6 = false},
    Way{.name = "udp-source-route", .send = udp_source_routed, .v6 = false, .bare_control = true},
    Way{.name = "quic", .send = quic, .port = 443},
    Way{.name = "dns-udp", .send = dns_over_udp, .port = 53},
    Way{.name = "dns-tcp", .send = dns_over_tcp, .port = 53},
    Way{.name = "dns-name-udp", .send = name_over_udp, .port = 53, .bare_control = true, .named = true},
    Way{.name = "dns-name-tcp", .send = name_over_tcp, .port = 53, .bare_control = true, .named = true},
    Way{.name = "udp-lite", .send = udp_lite},
    Way{.name = "sctp", .send = sctp},
    Way{.name = "dccp", .send = dccp},
    Way{.name = "ping", .send = ping, .ports = false},
};

}  // namespace

Attempt refused(int error_number) { return {.outcome = Attempt::Outcome::refused, .reason = std::strerror(error_number)}; }
Attempt impossible(std::string reason) { return {.outcome = Attempt::Outcome::impossible, .reason = std::move(reason)}; }

Attempt after_send(ssize_t sent) {
  if (sent >= 0) return {};
  switch (errno) {
    case EPERM:
    case EACCES:
    case ENOBUFS:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ECONNREFUSED:
    case ECONNRESET: return refused(errno);
    default: return impossible(std::strerror(errno));
  }
}

std::span<const Way> socket_ways() { return ways; }

}  // namespace epif::leak
