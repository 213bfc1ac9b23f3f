#include "socks/socks6_udp.h"

#include <algorithm>

#include "base/limits.h"
#include "socks/socks6.h"
#include "socks/wire.h"

namespace epif::socks6 {
namespace {

using socks::Fault;
using socks::Malformed;

constexpr Malformed cut_body{Fault::too_long, "a UDP message ends within its address"};

/// A field at the start of a complete message's body, and the bytes it takes.
struct Name {
  std::string_view text;
  std::size_t bytes;
};

std::variant<Name, Malformed> read_name(ByteSpan body) {
  if (body.empty() || body.size() < 1u + body[0]) return cut_body;
  const std::size_t length = body[0];
  auto name = as_text(body.subspan(1, length));
  const auto padding = socks::padding_to_4(1 + length);
  const auto after = body.subspan(1 + length);
  if (padding > 0 && after.size() >= padding && std::ranges::all_of(after.first(padding), [](auto byte) { return byte == 0; })) {
    return Malformed{Fault::name, "a name that may be padded or not"};
  }
  while (name.ends_with('\0')) name.remove_suffix(1);
  if (name.empty()) return Malformed{Fault::name, "empty host name"};
  if (name.find('\0') != std::string_view::npos) return Malformed{Fault::name, "NUL in host name"};
  return Name{name, 1 + length};
}

std::size_t address_bytes(std::uint8_t type) {
  if (type == socks::address_type_v4) return 4;
  return type == socks::address_type_v6 ? 16 : 0;
}

IpAddress address_of(ByteSpan bytes) { return bytes.size() == 4 ? IpAddress::v4(bytes) : IpAddress::v6(bytes); }

/// `atyp 00 port address` of a datagram or error, then what follows it in `rest`.
std::optional<Malformed> read_target(ByteSpan body, bool names, socks::Target& target, ByteSpan& rest) {
  constexpr std::size_t fixed = 4;
  if (body.size() < fixed) return cut_body;
  target.port = load_u16(&body[2]);
  const auto address = body.subspan(fixed);
  if (names && body[0] == socks::address_type_name) {
    const auto name = read_name(address);
    if (const auto* fault = std::get_if<Malformed>(&name)) return *fault;
    target.host = std::get<Name>(name).text;
    rest = address.subspan(std::get<Name>(name).bytes);
    return std::nullopt;
  }
  const auto length = address_bytes(body[0]);
  if (length == 0) return Malformed{Fault::address_type, "unknown address type"};
  if (address.size() < length) return cut_body;
  target.host = address_of(address.first(length));
  rest = address.subspan(length);
  return std::nullopt;
}

std::optional<Malformed> read_report(ByteSpan body, UdpMessage& message) {
  constexpr std::size_t fixed = 4;
  if (body.size() < fixed) return cut_body;
  if (body[1] < 1 || body[1] > 4) return Malformed{Fault::reserved, "unknown UDP error code"};
  message.error = static_cast<UdpErrorCode>(body[1]);
  const auto length = address_bytes(body[0]);
  if (length == 0) return Malformed{Fault::address_type, "unknown address type"};
  if (body.size() != fixed + length) return Malformed{Fault::too_long, "a UDP error of impossible length"};
  message.reporter = address_of(body.subspan(fixed));
  return std::nullopt;
}

std::optional<Malformed> read_body(ByteSpan body, UdpMessage& message) {
  switch (message.type) {
    case UdpType::init:
    case UdpType::confirmation: return std::nullopt;
    case UdpType::datagram: return read_target(body, true, message.target, message.payload);
    case UdpType::error: break;
  }
  ByteSpan report;
  if (const auto fault = read_target(body, false, message.target, report)) return fault;
  return read_report(report, message);
}

void encode_common(UdpType type, std::uint64_t association, socks::Writer& writer) {
  writer.u8(version);
  writer.u8(static_cast<std::uint8_t>(type));
  writer.u16(0);
  writer.u32(static_cast<std::uint32_t>(association >> 32));
  writer.u32(static_cast<std::uint32_t>(association));
}

void encode_endpoint(const SocketAddress& address, socks::Writer& writer) {
  writer.u8(socks::address_type(socks::Target::of(address)));
  writer.u8(0);
  writer.u16(address.port);
  writer.bytes(address.ip.bytes());
}

std::size_t finish(socks::Writer& writer, std::size_t payload_bytes) {
  const auto whole = writer.size() + payload_bytes;
  if (whole > 0xffff) return 0;
  writer.patch_u16(2, whole);
  return writer.finish();
}

std::size_t encode_bare(UdpType type, std::uint64_t association, MutableByteSpan out) {
  socks::Writer writer(out);
  encode_common(type, association, writer);
  return finish(writer, 0);
}

}  // namespace

socks::Decoded<UdpMessage> decode_udp_message(ByteSpan received) {
  if (received.empty()) return socks::NeedMore{};
  if (received[0] != version) return Malformed{Fault::version, "not a SOCKS6 UDP message"};
  if (received.size() < 2) return socks::NeedMore{};
  if (received[1] < 1 || received[1] > 4) return Malformed{Fault::reserved, "unknown type of UDP message"};
  if (received.size() < 4) return socks::NeedMore{};
  UdpMessage message;
  message.type = static_cast<UdpType>(received[1]);
  const std::size_t length = load_u16(&received[2]);
  const bool bare = message.type == UdpType::init || message.type == UdpType::confirmation;
  if (length < udp_common_bytes || (bare && length != udp_common_bytes)) {
    return Malformed{Fault::too_long, "a UDP message of impossible length"};
  }
  if (received.size() < length) return socks::NeedMore{};
  message.association = load_u64(&received[4]);
  if (const auto fault = read_body(received.subspan(udp_common_bytes, length - udp_common_bytes), message)) return *fault;
  return socks::Done<UdpMessage>{message, length};
}

std::size_t encode_udp_init(std::uint64_t association, MutableByteSpan out) {
  return encode_bare(UdpType::init, association, out);
}

std::size_t encode_udp_confirmation(std::uint64_t association, MutableByteSpan out) {
  return encode_bare(UdpType::confirmation, association, out);
}

std::size_t encode_udp_header(std::uint64_t association, const socks::Target& target, std::size_t payload_bytes,
                              MutableByteSpan out) {
  socks::Writer writer(out);
  encode_common(UdpType::datagram, association, writer);
  const auto* name = std::get_if<std::string_view>(&target.host);
  if (name == nullptr) {
    encode_endpoint({std::get<IpAddress>(target.host), target.port}, writer);
    return finish(writer, payload_bytes);
  }
  if (name->empty() || name->size() > limits::name_max_bytes) return 0;
  const auto padding = socks::padding_to_4(1 + name->size());
  writer.u8(socks::address_type_name);
  writer.u8(0);
  writer.u16(target.port);
  writer.u8(static_cast<std::uint8_t>(name->size() + padding));
  writer.text(*name);
  writer.zeros(padding);
  return finish(writer, payload_bytes);
}

std::size_t encode_udp_error(std::uint64_t association, const SocketAddress& destination, UdpErrorCode code,
                             const IpAddress& reporter, MutableByteSpan out) {
  socks::Writer writer(out);
  encode_common(UdpType::error, association, writer);
  encode_endpoint(destination, writer);
  writer.u8(socks::address_type({reporter, 0}));
  writer.u8(static_cast<std::uint8_t>(code));
  writer.u16(0);
  writer.bytes(reporter.bytes());
  return finish(writer, 0);
}

}  // namespace epif::socks6
