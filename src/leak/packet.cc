#include "leak/packet.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cassert>

// Probe packets as bytes.
namespace epif::leak {
namespace {

constexpr std::uint8_t ipv6_fragment = 44;
constexpr std::uint8_t ipv6_routing = 43;
constexpr std::uint8_t hop_limit = 64;

void append(Bytes& to, ByteSpan more) { to.insert(to.end(), more.begin(), more.end()); }
void append_u16(Bytes& to, std::uint16_t value) {
  to.push_back(static_cast<std::uint8_t>(value >> 8));
  to.push_back(static_cast<std::uint8_t>(value));
}

/// Sum over the pseudo header that TCP, UDP and ICMPv6 cover (RFC 793, RFC 8200 section 8.1).
std::uint32_t pseudo_sum(const Ends& ends, std::uint8_t protocol, std::size_t length) {
  std::uint32_t sum = protocol + static_cast<std::uint32_t>(length);
  for (const auto& address : {ends.from, ends.to}) {
    const auto bytes = address.bytes();
    for (std::size_t i = 0; i < bytes.size(); i += 2) sum += load_u16(&bytes[i]);
  }
  return sum;
}

Bytes ipv4(const Ends& ends, std::uint8_t protocol, ByteSpan payload, const HeaderWish& wish) {
  assert(wish.options.size() % 4 == 0 && wish.options.size() <= 40);
  const auto head = 20 + wish.options.size();
  Bytes packet(20);
  packet[0] = static_cast<std::uint8_t>(0x40 | head / 4);
  store_u16(&packet[2], static_cast<std::uint16_t>(head + payload.size()));
  store_u16(&packet[4], wish.id);
  store_u16(&packet[6], wish.fragment);
  packet[8] = hop_limit;
  packet[9] = protocol;
  std::ranges::copy(ends.from.bytes(), packet.begin() + 12);
  std::ranges::copy(ends.to.bytes(), packet.begin() + 16);
  append(packet, wish.options);
  store_u16(&packet[10], checksum(packet));
  append(packet, payload);
  return packet;
}

Bytes ipv6(const Ends& ends, std::uint8_t protocol, ByteSpan payload, const HeaderWish& wish) {
  Bytes body;
  auto next = protocol;
  if (!wish.options.empty()) {
    body.push_back(next);
    append(body, wish.options);
    next = ipv6_routing;
  }
  if (wish.fragment != 0) {
    Bytes piece{next, 0};
    const auto more = static_cast<std::uint16_t>((wish.fragment & 0x2000) != 0 ? 1 : 0);
    append_u16(piece, static_cast<std::uint16_t>((wish.fragment & 0x1fff) << 3 | more));
    append_u16(piece, 0);
    append_u16(piece, wish.id);
    body.insert(body.begin(), piece.begin(), piece.end());
    next = ipv6_fragment;
  }
  append(body, payload);
  Bytes packet(40);
  packet[0] = 0x60;
  store_u16(&packet[4], static_cast<std::uint16_t>(body.size()));
  packet[6] = next;
  packet[7] = hop_limit;
  std::ranges::copy(ends.from.bytes(), packet.begin() + 8);
  std::ranges::copy(ends.to.bytes(), packet.begin() + 24);
  append(packet, body);
  return packet;
}

}  // namespace

std::string make_token() {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  std::array<std::uint8_t, token_bytes> noise{};
  const auto got = ::getrandom(noise.data(), noise.size(), 0);
  assert(got == static_cast<ssize_t>(noise.size()));
  static_cast<void>(got);
  std::string token;
  for (const auto byte : noise) token += letters[byte % letters.size()];
  return token;
}

std::uint16_t checksum(ByteSpan bytes, std::uint32_t sum) {
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += load_u16(&bytes[i]);
  if (bytes.size() % 2 != 0) sum += std::uint32_t{bytes.back()} << 8;
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Bytes ip_packet(const Ends& ends, std::uint8_t protocol, ByteSpan payload, const HeaderWish& wish) {
  assert(ends.from.is_v6() == ends.to.is_v6());
  return ends.to.is_v6() ? ipv6(ends, protocol, payload, wish) : ipv4(ends, protocol, payload, wish);
}

Bytes udp_datagram(const Ends& ends, std::uint16_t from, std::uint16_t to, ByteSpan data) {
  Bytes made;
  append_u16(made, from);
  append_u16(made, to);
  append_u16(made, static_cast<std::uint16_t>(8 + data.size()));
  append_u16(made, 0);
  append(made, data);
  const auto sum = checksum(made, pseudo_sum(ends, 17, made.size()));
  store_u16(&made[6], sum == 0 ? 0xffff : sum);
  return made;
}

Bytes tcp_syn(const Ends& ends, std::uint16_t from, std::uint16_t to, ByteSpan data) {
  constexpr std::uint8_t syn = 0x02;
  Bytes made(20);
  store_u16(&made[0], from);
  store_u16(&made[2], to);
  store_u32(&made[4], 1);
  made[12] = 5 << 4;
  made[13] = syn;
  store_u16(&made[14], 64240);
  append(made, data);
  store_u16(&made[16], checksum(made, pseudo_sum(ends, 6, made.size())));
  return made;
}

Bytes echo_request(const Ends& ends, ByteSpan data) {
  const bool v6 = ends.to.is_v6();
  Bytes made(8);
  made[0] = v6 ? 128 : 8;
  store_u16(&made[4], 0x6c6b);
  store_u16(&made[6], 1);
  append(made, data);
  store_u16(&made[2], checksum(made, v6 ? pseudo_sum(ends, 58, made.size()) : 0));
  return made;
}

Bytes other_transport(std::uint8_t protocol, std::uint16_t from, std::uint16_t to, ByteSpan data) {
  constexpr std::uint8_t sctp = 132;
  constexpr std::uint8_t dccp = 33;
  Bytes made;
  append_u16(made, from);
  append_u16(made, to);
  if (protocol == sctp) {
    made.resize(12);                                        // verification tag 0, as in an INIT (RFC 9260, section 8.5.1)
    made.insert(made.end(), {1, 0, 0, static_cast<std::uint8_t>(4 + data.size())});
  } else if (protocol == dccp) {
    made.insert(made.end(), {5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0});  // a Request (RFC 4340, section 5.2)
  } else {
    append_u16(made, 0);  // UDP-Lite (RFC 3828): all of it is covered
    append_u16(made, 0);
  }
  append(made, data);
  return made;
}

Bytes gre(bool v6, ByteSpan packet) {
  Bytes made{0, 0};
  append_u16(made, v6 ? 0x86dd : 0x0800);
  append(made, packet);
  return made;
}

Bytes dns_query(std::string_view label, bool tcp) {
  assert(label.size() < 64);
  return dns_question(wire_name(std::string(label) + ".example"), tcp);
}

Bytes dns_question(std::string_view wire_name, bool tcp) {
  Bytes made{0x6c, 0x6b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  append(made, as_bytes(wire_name));
  made.insert(made.end(), {0, 1, 0, 1});
  if (tcp) made.insert(made.begin(), {static_cast<std::uint8_t>(made.size() >> 8), static_cast<std::uint8_t>(made.size())});
  return made;
}

std::string wire_name(std::string_view name) {
  constexpr std::size_t label_most = 63;
  constexpr std::size_t name_most = 255;
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string made;
  while (true) {
    const auto label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > label_most) return {};
    made += static_cast<char>(label.size());
    made += label;
    if (label.size() == name.size()) break;
    name.remove_prefix(label.size() + 1);
  }
  made += '\0';
  return made.size() > name_most ? std::string() : made;
}

Bytes quic_initial(std::string_view id) {
  constexpr std::size_t smallest = 1200;  // RFC 9000, section 14.1
  assert(id.size() <= 20);
  Bytes made{0xc3, 0, 0, 0, 1, static_cast<std::uint8_t>(id.size())};
  append(made, as_bytes(id));
  made.insert(made.end(), {0, 0});  // no source id, no token
  append_u16(made, static_cast<std::uint16_t>(0x4000 | (smallest - made.size() - 2)));
  made.resize(smallest, 0x5a);
  return made;
}

Bytes source_route(const IpAddress& last) {
  Bytes made;
  if (last.is_v4()) {
    made = {0x83, 7, 4};  // RFC 791: loose source route, pointer at the first address
    append(made, last.bytes());
    made.push_back(0);
  } else {
    made = {2, 4, 1, 0, 0, 0, 0};  // RFC 8754 behind its first byte: 16 bytes more, type 4, one segment left
    append(made, last.bytes());
  }
  return made;
}

}  // namespace epif::leak
