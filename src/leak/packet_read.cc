#include "leak/packet.h"

// What a captured packet says about its addresses.
namespace epif::leak {
namespace {

constexpr std::size_t ipv4_head = 20;
constexpr std::size_t ipv6_head = 40;

bool has_ports(std::uint8_t protocol) {
  return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

void read_ports(Header& header, ByteSpan body) {
  if (!has_ports(header.protocol) || body.size() < 4) return;
  header.from_port = load_u16(&body[0]);
  header.to_port = load_u16(&body[2]);
}

std::optional<Header> read_v4(ByteSpan packet) {
  const std::size_t head = std::size_t{packet[0] & 15u} * 4;
  if (packet.size() < ipv4_head || head < ipv4_head || packet.size() < head) return {};
  Header header{IpAddress::v4(packet.subspan(12, 4)), IpAddress::v4(packet.subspan(16, 4)), packet[9]};
  const auto fragment = load_u16(&packet[6]) & 0x3fff;
  header.plain = head == ipv4_head && fragment == 0;
  if ((fragment & 0x1fff) == 0) read_ports(header, packet.subspan(head));
  return header;
}

std::optional<Header> read_v6(ByteSpan packet) {
  if (packet.size() < ipv6_head) return {};
  Header header{IpAddress::v6(packet.subspan(8, 16)), IpAddress::v6(packet.subspan(24, 16)), packet[6]};
  header.plain = has_ports(header.protocol) || header.protocol == 58;
  const auto body = packet.subspan(ipv6_head);
  read_ports(header, body);
  constexpr std::uint8_t icmp6 = 58;
  constexpr std::uint8_t solicitation = 135;
  constexpr std::uint8_t advertisement = 136;
  if (header.protocol == icmp6 && body.size() >= 24) {
    header.neighbour = body[0] == solicitation || body[0] == advertisement;
    if (body[0] == solicitation) header.asked = IpAddress::v6(body.subspan(8, 16));
  }
  return header;
}

}  // namespace

std::optional<Header> read_header(ByteSpan packet) {
  // Up to two tags: a tag's value and the type of what follows.
  for (int tags = 0; tags <= 2; ++tags) {
    if (packet.empty()) return {};
    const auto version = packet[0] >> 4;
    auto header = version == 4 ? read_v4(packet) : version == 6 ? read_v6(packet) : std::nullopt;
    if (header) return header;
    if (packet.size() < 4) return {};
    packet = packet.subspan(4);
  }
  return {};
}

std::optional<IpAddress> asked_by_arp(ByteSpan packet) {
  constexpr std::size_t length = 28;
  if (packet.size() < length || load_u16(&packet[2]) != 0x0800 || load_u16(&packet[6]) != 1) return {};
  return IpAddress::v4(packet.subspan(24, 4));
}

}  // namespace epif::leak
