#include "socks/socks5_fields.h"

#include <algorithm>

#include "base/limits.h"

namespace epif::socks5 {

using socks::Done;
using socks::Fault;
using socks::Malformed;
using socks::NeedMore;

socks::Decoded<socks::Target> decode_target(ByteSpan received) {
  if (received.empty()) return NeedMore{};
  std::size_t length = 0;
  std::size_t skip = 1;
  switch (received[0]) {
    case socks::address_type_v4: length = 4; break;
    case socks::address_type_v6: length = 16; break;
    case socks::address_type_name:
      if (received.size() < 2) return NeedMore{};
      length = received[1];
      skip = 2;
      if (length == 0) return Malformed{Fault::name, "empty host name"};
      break;
    default: return Malformed{Fault::address_type, "unknown address type"};
  }
  const std::size_t whole = skip + length + 2;
  if (received.size() < whole) return NeedMore{};
  const auto address = received.subspan(skip, length);
  socks::Target target;
  target.port = load_u16(&received[whole - 2]);
  if (received[0] == socks::address_type_name) {
    if (std::ranges::find(address, std::uint8_t{0}) != address.end()) return Malformed{Fault::name, "NUL in host name"};
    target.host = as_text(address);
  } else {
    target.host = length == 4 ? IpAddress::v4(address) : IpAddress::v6(address);
  }
  return Done<socks::Target>{target, whole};
}

bool encode_target(const socks::Target& target, socks::Writer& writer) {
  writer.u8(socks::address_type(target));
  if (const auto* name = std::get_if<std::string_view>(&target.host)) {
    if (name->empty() || name->size() > limits::name_max_bytes) return false;
    writer.u8(static_cast<std::uint8_t>(name->size()));
    writer.text(*name);
  } else {
    writer.bytes(std::get<IpAddress>(target.host).bytes());
  }
  writer.u16(target.port);
  return true;
}

}  // namespace epif::socks5
