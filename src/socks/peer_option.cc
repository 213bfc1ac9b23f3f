#include "socks/peer_option.h"

#include "socks/socks6_fields.h"

namespace epif::socks6 {
namespace {

constexpr std::uint8_t layout = 1;
constexpr std::size_t head_bytes = 4;

}  // namespace

std::optional<socks::Target> decode_expected_peer(ByteSpan body) {
  if (body.size() < head_bytes || body[0] != layout) return std::nullopt;
  const auto target = decode_target(body.subspan(head_bytes));
  const auto* complete = socks::done(target);
  if (complete == nullptr || complete->consumed != body.size() - head_bytes) return std::nullopt;
  return complete->message;
}

bool encode_expected_peer(const socks::Target& peer, socks::Writer& writer) {
  const auto start = writer.size();
  writer.u16(kind_expected_peer);
  writer.u16(0);
  writer.u8(layout);
  writer.zeros(head_bytes - 1);
  if (!encode_target(peer, writer)) return false;
  writer.patch_u16(start + 2, writer.size() - start);
  return true;
}

}  // namespace epif::socks6
