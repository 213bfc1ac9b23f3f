#include "mqtt.h"

#include <cassert>

namespace epif::bench::mqtt {
namespace {

constexpr std::uint8_t qos_mask = 0x06;

void put_length(Bytes& out, std::size_t length) {  // section 2.2.3: seven bits a byte, lowest first
  do {
    const auto rest = length >> 7;
    out.push_back(static_cast<std::uint8_t>((length & 0x7f) | (rest != 0 ? 0x80 : 0)));
    length = rest;
  } while (length != 0);
}

void put_u16(Bytes& out, std::size_t value) {
  assert(value <= 0xffff);
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

void put_text(Bytes& out, std::string_view text) {
  put_u16(out, text.size());
  out.insert(out.end(), text.begin(), text.end());
}

Bytes packet(std::uint8_t first, const Bytes& body) {
  Bytes out{first};
  put_length(out, body.size());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Result<ByteSpan> payload_of(std::uint8_t flags, ByteSpan body) {
  const std::size_t topic = body.size() < 2 ? body.size() : std::size_t{2} + load_u16(body.data());
  const std::size_t start = topic + ((flags & qos_mask) != 0 ? 2 : 0);
  if (start > body.size()) return fail(Code::protocol, "a PUBLISH is shorter than its topic");
  return body.subspan(start);
}

}  // namespace

Bytes connect(std::string_view client) {
  Bytes body;
  put_text(body, "MQTT");
  body.push_back(4);  // protocol level of 3.1.1
  body.push_back(2);  // clean session
  put_u16(body, 0);
  put_text(body, client);
  return packet(0x10, body);
}

Bytes subscribe(std::string_view filter) {
  Bytes body;
  put_u16(body, 1);
  put_text(body, filter);
  body.push_back(0);
  return packet(0x82, body);
}

void publish(Bytes& out, std::string_view topic, std::uint16_t id, ByteSpan payload) {
  assert(id != 0);
  out.push_back(0x32);
  put_length(out, 2 + topic.size() + 2 + payload.size());
  put_text(out, topic);
  put_u16(out, id);
  out.insert(out.end(), payload.begin(), payload.end());
}

Result<std::optional<Packet>> next(ByteSpan stream) {
  std::size_t length = 0, at = 1;
  for (;; ++at) {
    if (at >= stream.size()) return std::nullopt;
    if (at > 4) return fail(Code::protocol, "a packet's length has more than four bytes");
    length |= std::size_t{stream[at] & 0x7fu} << (7 * (at - 1));
    if ((stream[at] & 0x80) == 0) break;
  }
  if (stream.size() < at + 1 + length) return std::nullopt;
  Packet packet{static_cast<Type>(stream[0] >> 4), stream.subspan(at + 1, length), at + 1 + length};
  switch (packet.type) {
    case Type::connack:
      if (length != 2 || packet.body[1] != 0) return fail(Code::refused, "the broker refuses the connection");
      return packet;
    case Type::suback:
      if (length != 3 || packet.body[2] == 0x80) return fail(Code::refused, "the broker refuses the subscription");
      return packet;
    case Type::puback: return packet;
    case Type::publish: {
      const auto payload = payload_of(stream[0], packet.body);
      if (!payload) return fail(payload.error());
      packet.body = *payload;
      return packet;
    }
  }
  return fail(Code::protocol, "a packet of a type that was not asked for", std::to_string(stream[0] >> 4));
}

}  // namespace epif::bench::mqtt
