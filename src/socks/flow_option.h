#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "socks/wire.h"

/// Our own SOCKS6 option, of the experimental range (draft-12 section 7): which flow this connection belongs to, and the
/// encapsulated keys of its pairs of bridging functions. Layout: docs/socks6-options.md.
namespace epif::socks6 {

inline constexpr std::uint16_t kind_flow = 0xFCE1;
inline constexpr std::size_t flow_id_max_bytes = 64;
inline constexpr std::size_t pair_label_max_bytes = 64;
inline constexpr std::size_t encapsulations_max = 4;

/// An X25519 key encapsulation (RFC 9180) for one pair, named by the label that both of its halves carry in their routes.
struct KeyEncapsulation {
  std::string_view pair;             ///< 1..64 bytes
  std::array<std::uint8_t, 32> key;  ///< "enc" of RFC 9180
  friend bool operator==(const KeyEncapsulation&, const KeyEncapsulation&) = default;
};

struct FlowOption {
  std::string_view flow;  ///< flow id, 1..64 bytes of [A-Za-z0-9._/-]
  socks::InlineList<KeyEncapsulation, encapsulations_max> encapsulations;
  friend bool operator==(const FlowOption&, const FlowOption&) = default;
};

[[nodiscard]] bool is_flow_id(std::string_view text);

/// The body after kind and length; nothing if it is malformed or of a version that we do not know.
[[nodiscard]] std::optional<FlowOption> decode_flow_option(ByteSpan body);
/// The whole option. Fields must be within their limits.
void encode_flow_option(const FlowOption& option, socks::Writer& writer);

}  // namespace epif::socks6
