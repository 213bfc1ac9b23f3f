#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/fd.h"
#include "leak/packet.h"
#include "leak/ways.h"

// Ways over packet sockets: whole frames, past routing and the inet hooks.
namespace epif::leak {
namespace {

constexpr std::uint16_t from_port = 4012;
constexpr std::array<std::uint8_t, 6> nobody{0x02, 0x65, 0x70, 0x69, 0x66, 0x01};  // locally administered
constexpr std::array<std::uint8_t, 6> ourselves{0x02, 0x65, 0x70, 0x69, 0x66, 0x02};

ByteSpan token_of(const Probe& probe) { return as_bytes(probe.token); }
std::uint16_t type_of(const Probe& probe) { return probe.to.is_v6() ? ETH_P_IPV6 : ETH_P_IP; }

Bytes datagram_packet(const Probe& probe, const HeaderWish& wish = {}) {
  const Ends ends{probe.from, probe.to};
  return ip_packet(ends, 17, udp_datagram(ends, from_port, probe.port, token_of(probe)), wish);
}

struct FrameWish {
  std::uint16_t declared = 0;  ///< what the socket call says the frame is
  int kind = SOCK_RAW;         ///< SOCK_DGRAM: the kernel writes the link header
  bool bypass = false;         ///< past the queueing discipline
  int count = 1;
};

Attempt send_frame(const Probe& probe, ByteSpan frame, const FrameWish& wish) {
  const Fd socket(::socket(AF_PACKET, wish.kind | SOCK_CLOEXEC, 0));
  if (!socket) return impossible("packet socket: " + std::string(std::strerror(errno)));
  const int on = 1;
  if (wish.bypass && ::setsockopt(socket.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0) {
    return impossible("PACKET_QDISC_BYPASS: " + std::string(std::strerror(errno)));
  }
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(probe.device.index);
  to.sll_protocol = htons(wish.declared);
  to.sll_halen = nobody.size();
  std::memcpy(to.sll_addr, nobody.data(), nobody.size());
  Attempt last;
  for (int i = 0; i < wish.count; ++i) {
    last = after_send(::sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to));
    if (last.outcome != Attempt::Outcome::sent) break;
  }
  return last;
}

Attempt frame(const Probe& probe) { return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe)), {.declared = type_of(probe)}); }
Attempt cooked(const Probe& probe) { return send_frame(probe, datagram_packet(probe), {.declared = type_of(probe), .kind = SOCK_DGRAM}); }
Attempt cooked_unknown(const Probe& probe) { return send_frame(probe, datagram_packet(probe), {.declared = 0x1234, .kind = SOCK_DGRAM}); }
Attempt disguised(const Probe& probe) { return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe)), {.declared = 0x1234}); }

Attempt disguised_as_other(const Probe& probe) {
  const std::uint16_t other = probe.to.is_v6() ? ETH_P_IP : ETH_P_IPV6;
  return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe)), {.declared = other});
}

constexpr std::array<std::uint8_t, 4> tag{0x81, 0x00, 0x00, 0x05};
constexpr std::array<std::uint8_t, 4> tag_like_ip{0x81, 0x00, 0x40, 0x05};  // read as a header, it begins like one

Attempt tagged(const Probe& probe) {
  return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe), tag), {.declared = ETH_P_8021Q});
}
Attempt hidden_tag(const Probe& probe) {
  return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe), tag), {.declared = type_of(probe)});
}
Attempt hidden_tag_like_ip(const Probe& probe) {
  return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe), tag_like_ip), {.declared = type_of(probe)});
}

Attempt first_fragment(const Probe& probe) {
  return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe, {.fragment = 0x2000})), {.declared = type_of(probe)});
}
Attempt later_fragment(const Probe& probe) {
  const Ends ends{probe.from, probe.to};
  return send_frame(probe, ethernet(type_of(probe), ip_packet(ends, 17, token_of(probe), {.fragment = 100})), {.declared = type_of(probe)});
}
/// A TCP header cut before its flags (RFC 1858): the first fragment holds ports alone, the next the rest and the token.
Attempt tiny_fragments(const Probe& probe) {
  const Ends ends{probe.from, probe.to};
  const auto segment = tcp_syn(ends, from_port, probe.port, token_of(probe));
  const auto first = ip_packet(ends, 6, ByteSpan(segment).first(8), {.fragment = 0x2000});
  const auto rest = ip_packet(ends, 6, ByteSpan(segment).subspan(8), {.fragment = 1});
  const auto one = send_frame(probe, ethernet(type_of(probe), first), {.declared = type_of(probe)});
  const auto two = send_frame(probe, ethernet(type_of(probe), rest), {.declared = type_of(probe)});
  return one.outcome == Attempt::Outcome::sent ? two : one;
}

Attempt frame_source_route(const Probe& probe) {
  const Ends first{probe.from, probe.via};
  const auto packet = ip_packet(first, 17, udp_datagram(first, from_port, probe.port, token_of(probe)), {.options = source_route(probe.to)});
  return send_frame(probe, ethernet(type_of(probe), packet), {.declared = type_of(probe)});
}

Attempt unqueued(const Probe& probe) {
  return send_frame(probe, ethernet(type_of(probe), datagram_packet(probe)), {.declared = type_of(probe), .bypass = true, .count = batch});
}
Attempt by_xdp(const Probe& probe) { return send_by_xdp(probe, ethernet(type_of(probe), datagram_packet(probe))); }

constexpr std::array ways{
    Way{.name = "frame", .send = frame},
    Way{.name = "frame-cooked", .send = cooked},
    Way{.name = "frame-cooked-unknown", .send = cooked_unknown, .ports = false},
    Way{.name = "frame-disguised", .send = disguised, .ports = false},
    Way{.name = "frame-disguised-family", .send = disguised_as_other, .ports = false},
    Way{.name = "frame-vlan", .send = tagged},
    Way{.name = "frame-hidden-vlan", .send = hidden_tag, .ports = false},
    Way{.name = "frame-hidden-vlan-like-ip", .send = hidden_tag_like_ip, .ports = false},
    Way{.name = "frame-first-fragment", .send = first_fragment},
    Way{.name = "frame-later-fragment", .send = later_fragment, .ports = false},
    Way{.name = "frame-tiny-fragments", .send = tiny_fragments},
    Way{.name = "frame-source-route", .send = frame_source_route, .ports = false, .bare_control = true},
    Way{.name = "frame-unqueued", .send = unqueued, .unseen = true},
    Way{.name = "af-xdp", .send = by_xdp, .unseen = true,
        .advice = "no hook of the kernel sees it: keep CAP_NET_RAW from guarded programs, or start them by `epif redirect --exec`"},
};

}  // namespace

Bytes ethernet(std::uint16_t type, ByteSpan packet, ByteSpan tag_bytes) {
  Bytes made(nobody.begin(), nobody.end());
  made.insert(made.end(), ourselves.begin(), ourselves.end());
  made.insert(made.end(), tag_bytes.begin(), tag_bytes.end());
  made.push_back(static_cast<std::uint8_t>(type >> 8));
  made.push_back(static_cast<std::uint8_t>(type));
  made.insert(made.end(), packet.begin(), packet.end());
  return made;
}

std::span<const Way> frame_ways() { return ways; }

}  // namespace epif::leak
