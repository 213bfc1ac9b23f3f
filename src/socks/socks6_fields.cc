#include "socks/socks6_fields.h"

#include <algorithm>

#include "base/limits.h"

namespace epif::socks6 {
namespace {

/// The domain address field: length byte, name, NULs up to a multiple of 4. In -12 the length counts the NULs, in -11 not.
socks::Decoded<std::string_view> decode_name(ByteSpan received) {
  if (received.empty()) return socks::NeedMore{};
  const std::size_t length = received[0];
  const std::size_t field = 1 + length + socks::padding_to_4(1 + length);
  if (received.size() < field) return socks::NeedMore{};
  auto name = as_text(received.subspan(1, length));
  while (name.ends_with('\0')) name.remove_suffix(1);
  if (name.empty()) return socks::Malformed{socks::Fault::name, "empty host name"};
  if (name.find('\0') != std::string_view::npos) return socks::Malformed{socks::Fault::name, "NUL in host name"};
  const auto pad = received.subspan(1 + length, field - 1 - length);
  if (std::ranges::any_of(pad, [](auto byte) { return byte != 0; })) {
    return socks::Malformed{socks::Fault::name, "host name is not padded with NUL"};
  }
  return socks::Done<std::string_view>{name, field};
}

}  // namespace

std::optional<OptionReader::Option> OptionReader::next() {
  if (rest_.empty() || bad_length_) return std::nullopt;
  const std::size_t length = rest_.size() < 4 ? 0 : load_u16(&rest_[2]);
  if (length < 4 || length % 4 != 0 || length > rest_.size()) {
    bad_length_ = true;
    return std::nullopt;
  }
  Option option{static_cast<Kind>(load_u16(rest_.data())), rest_.subspan(4, length - 4)};
  rest_ = rest_.subspan(length);
  return option;
}

socks::Decoded<socks::Target> decode_target(ByteSpan received) {
  constexpr std::size_t fixed = 4;
  if (received.size() < fixed) return socks::NeedMore{};
  socks::Target target;
  target.port = load_u16(received.data());
  const auto address = received.subspan(fixed);
  switch (received[3]) {
    case socks::address_type_v4:
      if (address.size() < 4) return socks::NeedMore{};
      target.host = IpAddress::v4(address.first(4));
      return socks::Done<socks::Target>{target, fixed + 4};
    case socks::address_type_v6:
      if (address.size() < 16) return socks::NeedMore{};
      target.host = IpAddress::v6(address.first(16));
      return socks::Done<socks::Target>{target, fixed + 16};
    case socks::address_type_name: {
      const auto name = decode_name(address);
      if (const auto* fault = socks::malformed(name)) return *fault;
      const auto* complete = socks::done(name);
      if (complete == nullptr) return socks::NeedMore{};
      target.host = complete->message;
      return socks::Done<socks::Target>{target, fixed + complete->consumed};
    }
    default: return socks::Malformed{socks::Fault::address_type, "unknown address type"};
  }
}

bool encode_target(const socks::Target& target, socks::Writer& writer) {
  writer.u16(target.port);
  writer.u8(0);
  writer.u8(socks::address_type(target));
  const auto* name = std::get_if<std::string_view>(&target.host);
  if (name == nullptr) {
    writer.bytes(std::get<IpAddress>(target.host).bytes());
    return true;
  }
  if (name->empty() || name->size() > limits::name_max_bytes) return false;
  const auto padding = socks::padding_to_4(1 + name->size());
  writer.u8(static_cast<std::uint8_t>(name->size() + padding));
  writer.text(*name);
  writer.zeros(padding);
  return true;
}

std::optional<socks::Malformed> check_options_length(std::size_t length) {
  if (length > limits::socks6_options_max_bytes) return socks::Malformed{socks::Fault::too_long, "option block too long"};
  if (length % 4 != 0) return socks::Malformed{socks::Fault::option, "option block is not a multiple of 4"};
  return std::nullopt;
}

void encode_empty(Kind kind, socks::Writer& writer) {
  encode_bytes(kind, {}, writer);
}

void encode_u32(Kind kind, std::uint32_t value, socks::Writer& writer) {
  std::array<std::uint8_t, 4> body{};
  store_u32(body.data(), value);
  encode_bytes(kind, body, writer);
}

void encode_bytes(Kind kind, ByteSpan body, socks::Writer& writer) {
  const auto padding = socks::padding_to_4(body.size());
  writer.u16(static_cast<std::uint16_t>(kind));
  writer.u16(static_cast<std::uint16_t>(4 + body.size() + padding));
  writer.bytes(body);
  writer.zeros(padding);
}

}  // namespace epif::socks6
