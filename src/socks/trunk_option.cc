#include "socks/trunk_option.h"

#include <algorithm>

namespace epif::socks6 {
namespace {

constexpr std::uint8_t layout = 1;
constexpr std::size_t body_bytes = 4 + trunk_token_bytes + 4;

}  // namespace

std::optional<TrunkOption> decode_trunk_option(ByteSpan body) {
  if (body.size() != body_bytes || body[0] != layout || body[1] > static_cast<std::uint8_t>(TrunkOption::What::join)) return std::nullopt;
  TrunkOption option;
  option.what = static_cast<TrunkOption::What>(body[1]);
  std::copy_n(&body[4], trunk_token_bytes, option.token.begin());
  option.stream = load_u32(&body[4 + trunk_token_bytes]);
  return option;
}

void encode_trunk_option(const TrunkOption& option, socks::Writer& writer) {
  writer.u16(kind_trunk);
  writer.u16(4 + body_bytes);
  writer.u8(layout);
  writer.u8(static_cast<std::uint8_t>(option.what));
  writer.zeros(2);
  writer.bytes(option.token);
  writer.u32(option.stream);
}

}  // namespace epif::socks6
