#include "net/trunk_frame.h"

#include <cassert>

namespace epif::net {
namespace {

constexpr std::uint8_t flag_opens = 1;
constexpr std::uint8_t flag_ends = 2;

bool is_possible(const TrunkFrame& frame, std::uint8_t flags) {
  using Kind = TrunkFrame::Kind;
  if (frame.kind != Kind::data && flags != 0) return false;
  if ((frame.kind == Kind::drain) != (frame.stream == 0)) return false;
  switch (frame.kind) {
    case Kind::data: return (flags & ~(flag_opens | flag_ends)) == 0 && (frame.length > 0 || flags != 0);
    case Kind::credit: return frame.length == trunk_credit_bytes;
    case Kind::reset:
    case Kind::drain:
    case Kind::moved: return frame.length == 0;
  }
  return false;  // a kind that we do not know: what follows it could mean anything
}

}  // namespace

std::optional<TrunkFrame> decode_trunk_frame(ByteSpan received) {
  assert(received.size() >= trunk_header_bytes);
  TrunkFrame frame;
  frame.kind = static_cast<TrunkFrame::Kind>(received[0]);
  const auto flags = received[1];
  frame.opens = (flags & flag_opens) != 0;
  frame.ends = (flags & flag_ends) != 0;
  frame.length = load_u16(&received[2]);
  frame.stream = load_u32(&received[4]);
  if (!is_possible(frame, flags)) return std::nullopt;
  return frame;
}

std::array<std::uint8_t, trunk_header_bytes> encode_trunk_frame(const TrunkFrame& frame) {
  std::array<std::uint8_t, trunk_header_bytes> out{};
  out[0] = static_cast<std::uint8_t>(frame.kind);
  out[1] = static_cast<std::uint8_t>((frame.opens ? flag_opens : 0) | (frame.ends ? flag_ends : 0));
  store_u16(&out[2], frame.length);
  store_u32(&out[4], frame.stream);
  return out;
}

}  // namespace epif::net
