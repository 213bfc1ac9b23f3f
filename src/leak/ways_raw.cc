#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/fd.h"
#include "leak/packet.h"
#include "leak/ways.h"
#include "net/tcp.h"

// Ways over raw sockets: our own transport or our own IP header, on the kernel's usual path (output, postrouting, egress).
namespace epif::leak {
namespace {

constexpr std::uint16_t from_port = 4011;

Ends ends_of(const Probe& probe) { return {probe.from, probe.to}; }
ByteSpan token_of(const Probe& probe) { return as_bytes(probe.token); }

/// Sends a whole packet towards its own destination `to`.
Attempt send_packet(const IpAddress& to, ByteSpan packet) {
  const Fd socket(::socket(to.is_v6() ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket) return impossible("raw socket: " + std::string(std::strerror(errno)));
  sockaddr_storage place{};
  const auto length = net::to_sockaddr({to, 0}, place);  // a raw IPv6 socket takes no port
  return after_send(::sendto(socket.get(), packet.data(), packet.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&place), length));
}

Attempt send_protocol(const Probe& probe, std::uint8_t protocol, ByteSpan payload, const HeaderWish& wish = {}) {
  return send_packet(probe.to, ip_packet(ends_of(probe), protocol, payload, wish));
}

Attempt raw_tcp(const Probe& probe) { return send_protocol(probe, 6, tcp_syn(ends_of(probe), from_port, probe.port, token_of(probe))); }
Attempt raw_udp(const Probe& probe) { return send_protocol(probe, 17, udp_datagram(ends_of(probe), from_port, probe.port, token_of(probe))); }
Attempt raw_udp_lite(const Probe& probe) { return send_protocol(probe, 136, other_transport(136, from_port, probe.port, token_of(probe))); }
Attempt raw_sctp(const Probe& probe) { return send_protocol(probe, 132, other_transport(132, from_port, probe.port, token_of(probe))); }
Attempt raw_dccp(const Probe& probe) { return send_protocol(probe, 33, other_transport(33, from_port, probe.port, token_of(probe))); }
Attempt raw_unknown(const Probe& probe) { return send_protocol(probe, 253, token_of(probe)); }

Attempt raw_echo(const Probe& probe) {
  return send_protocol(probe, probe.to.is_v6() ? 58 : 1, echo_request(ends_of(probe), token_of(probe)));
}

/// Both halves: the kernel may hold a lone fragment back until the other comes, wherever it wants to go.
Attempt raw_fragments(const Probe& probe) {
  auto datagram = udp_datagram(ends_of(probe), from_port, probe.port, token_of(probe));  // 24 bytes: 8 and 16
  const auto id = static_cast<std::uint16_t>(probe.token[0] << 8 | probe.token[1]);
  const auto first = send_protocol(probe, 17, ByteSpan(datagram).first(8), {.fragment = 0x2000, .id = id});
  const auto second = send_protocol(probe, 17, ByteSpan(datagram).subspan(8), {.fragment = 1, .id = id});
  return first.outcome == Attempt::Outcome::sent ? second : first;
}

Attempt in_ip(const Probe& probe) {
  const Bytes inner = ip_packet(ends_of(probe), 17, udp_datagram(ends_of(probe), from_port, probe.port, token_of(probe)));
  return send_protocol(probe, probe.to.is_v6() ? 41 : 4, inner);
}
Attempt in_gre(const Probe& probe) {
  const Bytes inner = ip_packet(ends_of(probe), 17, udp_datagram(ends_of(probe), from_port, probe.port, token_of(probe)));
  return send_protocol(probe, 47, gre(probe.to.is_v6(), inner));
}

/// Addressed to a neighbour that nothing protects, to go on from there.
Attempt raw_source_route(const Probe& probe) {
  const Ends first{probe.from, probe.via};
  return send_packet(probe.via, ip_packet(first, 17, udp_datagram(first, from_port, probe.port, token_of(probe)),
                                          {.options = source_route(probe.to)}));
}

constexpr std::array ways{
    Way{.name = "raw-tcp", .send = raw_tcp},
    Way{.name = "raw-udp", .send = raw_udp},
    Way{.name = "raw-udp-lite", .send = raw_udp_lite},
    Way{.name = "raw-sctp", .send = raw_sctp},
    Way{.name = "raw-dccp", .send = raw_dccp},
    Way{.name = "raw-unknown-protocol", .send = raw_unknown, .ports = false},
    Way{.name = "raw-echo", .send = raw_echo, .ports = false},
    Way{.name = "raw-fragments", .send = raw_fragments},
    Way{.name = "raw-ip-in-ip", .send = in_ip, .ports = false},
    Way{.name = "raw-gre", .send = in_gre, .ports = false},
    Way{.name = "raw-source-route", .send = raw_source_route, .ports = false, .bare_control = true},
};

}  // namespace

std::span<const Way> raw_ways() { return ways; }

}  // namespace epif::leak
