#include "observe/segment.h"

namespace epif::observe {
namespace {

struct Body {
  IpAddress from, to;
  std::uint8_t protocol = 0;
  ByteSpan bytes;
  std::uint32_t whole = 0;  ///< as the headers tell, since the capture may be cut
};

std::uint32_t less(std::uint32_t whole, std::uint32_t head) { return whole > head ? whole - head : 0; }

/// Past the headers between IPv6 and its payload (RFC 8200, section 4): each names the next one and its own length.
std::optional<Body> past_extensions(Body body) {
  constexpr std::uint8_t hop_by_hop = 0;
  constexpr std::uint8_t routing = 43;
  constexpr std::uint8_t options = 60;
  while (body.protocol == hop_by_hop || body.protocol == routing || body.protocol == options) {
    if (body.bytes.size() < 8) return {};
    const std::size_t head = 8 + std::size_t{body.bytes[1]} * 8;
    if (body.bytes.size() < head) return {};
    body.protocol = body.bytes[0];
    body.bytes = body.bytes.subspan(head);
    body.whole = less(body.whole, static_cast<std::uint32_t>(head));
  }
  return body;
}

std::optional<Body> read_ip(ByteSpan packet) {
  if (packet.empty()) return {};
  if (packet[0] >> 4 == 4) {
    const std::size_t head = std::size_t{packet[0] & 15u} * 4;
    if (head < 20 || packet.size() < head || (load_u16(&packet[6]) & 0x3fff) != 0) return {};
    return Body{IpAddress::v4(packet.subspan(12, 4)), IpAddress::v4(packet.subspan(16, 4)), packet[9], packet.subspan(head),
                less(load_u16(&packet[2]), static_cast<std::uint32_t>(head))};
  }
  if (packet[0] >> 4 != 6 || packet.size() < 40) return {};
  return past_extensions({IpAddress::v6(packet.subspan(8, 16)), IpAddress::v6(packet.subspan(24, 16)), packet[6], packet.subspan(40),
                          load_u16(&packet[4])});
}

}  // namespace

std::optional<Segment> read_segment(ByteSpan packet) {
  constexpr std::uint8_t tcp = 6;
  constexpr std::uint8_t udp = 17;
  constexpr std::uint8_t fin = 1;
  constexpr std::uint8_t syn = 2;
  constexpr std::uint8_t reset = 4;
  constexpr std::uint8_t acknowledge = 16;
  const auto body = read_ip(packet);
  if (!body || body->bytes.size() < 8) return {};
  const auto& bytes = body->bytes;
  Segment made;
  made.from = {body->from, load_u16(&bytes[0])};
  made.to = {body->to, load_u16(&bytes[2])};
  if (body->protocol == udp) {
    const std::uint32_t length = load_u16(&bytes[4]);
    made.bytes = length < 8 ? 0 : length - 8;
    made.payload = bytes.subspan(8);
    return made;
  }
  if (body->protocol != tcp || bytes.size() < 20) return {};
  const auto flags = bytes[13];
  made.sequence = load_u32(&bytes[4]);
  const std::uint32_t head = (bytes[12] >> 4u) * 4u;
  if (head >= 20 && head <= bytes.size()) made.payload = bytes.subspan(head);
  if ((flags & syn) != 0) {
    made.kind = (flags & acknowledge) != 0 ? Segment::Kind::tcp_accept : Segment::Kind::tcp_begin;
  } else if ((flags & (fin | reset)) != 0) {
    made.kind = Segment::Kind::tcp_end;
    // A FIN counts behind the data that its segment may carry: header lengths tell how much, as the capture may be cut.
    made.sequence += less(body->whole, head);
  } else {
    if (made.payload.empty()) return {};
    made.kind = Segment::Kind::tcp_data;
  }
  return made;
}

}  // namespace epif::observe
