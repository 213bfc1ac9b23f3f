#include "socks/stack_option.h"

#include <cassert>

namespace epif::socks6 {
namespace {

constexpr std::uint16_t kind_stack = 1;
constexpr std::uint8_t level_ip = 1;
constexpr std::uint8_t level_tcp = 4;
constexpr std::uint8_t level_udp = 5;

constexpr std::uint8_t no = 1;  ///< "not desired" in a request, "not done" in a reply
constexpr std::uint8_t yes = 2;

/// Level, code and value bytes of an option.
struct Fields {
  std::uint8_t level;
  std::uint8_t code;
  std::uint8_t first;
  std::uint8_t second;
};

std::uint8_t choice(bool wanted) {
  return wanted ? yes : no;
}
std::uint8_t high(std::uint16_t value) {
  return static_cast<std::uint8_t>(value >> 8);
}
std::uint8_t low(std::uint16_t value) {
  return static_cast<std::uint8_t>(value);
}

struct ToFields {
  Fields operator()(const Tos& o) const { return {level_ip, 1, o.value, 0}; }
  Fields operator()(const HappyEyeballs& o) const { return {level_ip, 2, choice(o.wanted), 0}; }
  Fields operator()(const Ttl& o) const { return {level_ip, 3, o.value, 0}; }
  Fields operator()(const NoFragmentation& o) const { return {level_ip, 4, choice(o.wanted), 0}; }
  Fields operator()(const FastOpen& o) const { return {level_tcp, 1, high(o.payload_bytes), low(o.payload_bytes)}; }
  Fields operator()(const Multipath& o) const { return {level_tcp, 2, choice(o.wanted), 0}; }
  Fields operator()(const ListenBacklog& o) const { return {level_tcp, 3, high(o.connections), low(o.connections)}; }
  Fields operator()(const UdpError& o) const { return {level_udp, 1, choice(o.wanted), 0}; }
  Fields operator()(const PortParity& o) const {
    return {level_udp, 2, o.parity, static_cast<std::uint8_t>(o.reserve ? 1 : 0)};
  }
};

template <class Option>
std::optional<StackOption> chosen(std::uint8_t value, Option option) {
  if (value != no && value != yes) return std::nullopt;
  option.wanted = value == yes;
  return option;
}

std::optional<StackOption> decode_ip(Leg leg, std::uint8_t code, std::uint8_t value) {
  switch (code) {
    case 1: return Tos{leg, value};
    case 2: return leg == Leg::proxy_remote ? chosen(value, HappyEyeballs{}) : std::nullopt;
    case 3: return Ttl{leg, value};
    case 4: return chosen(value, NoFragmentation{leg, false});
    default: return std::nullopt;
  }
}

std::optional<StackOption> decode_tcp(std::uint8_t code, ByteSpan value) {
  switch (code) {
    case 1: return FastOpen{load_u16(value.data())};
    case 2: return chosen(value[0], Multipath{});
    case 3: return ListenBacklog{load_u16(value.data())};
    default: return std::nullopt;
  }
}

std::optional<StackOption> decode_udp(std::uint8_t code, ByteSpan value) {
  if (code == 1) return chosen(value[0], UdpError{});
  if (code == 2 && value[0] <= 2 && value[1] <= 1) return PortParity{value[0], value[1] == 1};
  return std::nullopt;
}

}  // namespace

Leg leg_of(const StackOption& option) {
  if (const auto* tos = std::get_if<Tos>(&option)) return tos->leg;
  if (const auto* ttl = std::get_if<Ttl>(&option)) return ttl->leg;
  if (const auto* whole = std::get_if<NoFragmentation>(&option)) return whole->leg;
  return Leg::proxy_remote;
}

std::optional<StackOption> decode_stack_option(ByteSpan body) {
  if (body.size() != 4 || body[0] >> 6 == 0) return std::nullopt;
  const auto leg = static_cast<Leg>(body[0] >> 6);
  const std::uint8_t level = body[0] & 0x3f;
  if (level == level_ip) return decode_ip(leg, body[1], body[2]);
  if (leg != Leg::proxy_remote) return std::nullopt;
  if (level == level_tcp) return decode_tcp(body[1], body.subspan(2));
  if (level == level_udp) return decode_udp(body[1], body.subspan(2));
  return std::nullopt;
}

void encode_stack_option(const StackOption& option, socks::Writer& writer) {
  const auto fields = std::visit(ToFields{}, option);
  writer.u16(kind_stack);
  writer.u16(8);
  writer.u8(static_cast<std::uint8_t>((static_cast<unsigned>(leg_of(option)) << 6) | fields.level));
  writer.u8(fields.code);
  writer.u8(fields.first);
  writer.u8(fields.second);
}

bool StackOptions::add(const StackOption& option) {
  for (const auto& earlier : list_) {
    if (earlier.index() == option.index() && covers(earlier, leg_of(option))) return false;
  }
  const bool room = list_.push_back(option);
  assert(room);
  return room;
}

}  // namespace epif::socks6
