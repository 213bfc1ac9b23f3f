#include "socks/flow_option.h"

#include <algorithm>
#include <cassert>

namespace epif::socks6 {
namespace {

constexpr std::uint8_t layout_version = 1;
constexpr std::size_t fixed_bytes = 4;
constexpr std::size_t key_bytes = 32;

bool is_flow_id_byte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '.' ||
         byte == '_' || byte == '/' || byte == '-';
}

/// Takes one encapsulation from the front of `rest`.
std::optional<KeyEncapsulation> take_encapsulation(ByteSpan& rest) {
  if (rest.empty()) return std::nullopt;
  const std::size_t label = rest[0];
  if (label == 0 || label > pair_label_max_bytes || rest.size() < 1 + label + key_bytes) return std::nullopt;
  KeyEncapsulation made{as_text(rest.subspan(1, label)), {}};
  std::ranges::copy(rest.subspan(1 + label, key_bytes), made.key.begin());
  rest = rest.subspan(1 + label + key_bytes);
  return made;
}

}  // namespace

bool is_flow_id(std::string_view text) {
  return !text.empty() && text.size() <= flow_id_max_bytes && std::ranges::all_of(text, is_flow_id_byte);
}

std::optional<FlowOption> decode_flow_option(ByteSpan body) {
  if (body.size() < fixed_bytes || body[0] != layout_version) return std::nullopt;
  const std::size_t flow_length = body[1];
  const std::size_t encapsulations = body[2];
  if (encapsulations > encapsulations_max || body.size() < fixed_bytes + flow_length) return std::nullopt;
  FlowOption option;
  option.flow = as_text(body.subspan(fixed_bytes, flow_length));
  if (!is_flow_id(option.flow)) return std::nullopt;
  auto rest = body.subspan(fixed_bytes + flow_length);
  for (std::size_t i = 0; i < encapsulations; ++i) {
    const auto taken = take_encapsulation(rest);
    if (!taken) return std::nullopt;
    option.encapsulations.push_back(*taken);
  }
  if (rest.size() > 3) return std::nullopt;
  return option;
}

void encode_flow_option(const FlowOption& option, socks::Writer& writer) {
  assert(is_flow_id(option.flow));
  const auto start = writer.size();
  writer.u16(kind_flow);
  writer.u16(0);
  writer.u8(layout_version);
  writer.u8(static_cast<std::uint8_t>(option.flow.size()));
  writer.u8(static_cast<std::uint8_t>(option.encapsulations.size()));
  writer.u8(0);
  writer.text(option.flow);
  for (const auto& encapsulation : option.encapsulations) {
    assert(!encapsulation.pair.empty() && encapsulation.pair.size() <= pair_label_max_bytes);
    writer.u8(static_cast<std::uint8_t>(encapsulation.pair.size()));
    writer.text(encapsulation.pair);
    writer.bytes(encapsulation.key);
  }
  writer.zeros(socks::padding_to_4(writer.size() - start));
  writer.patch_u16(start + 2, writer.size() - start);
}

}  // namespace epif::socks6
