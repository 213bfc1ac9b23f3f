#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "socks/wire.h"

/// Our own SOCKS6 option for trunks, of the experimental range (draft-12 section 7). Layout: docs/socks6-options.md.
namespace epif::socks6 {

inline constexpr std::uint16_t kind_trunk = 0xFCE3;
inline constexpr std::size_t trunk_token_bytes = 16;

/// In a request a wish, in its reply the consent.
struct TrunkOption {
  enum class What : std::uint8_t {
    offer,  ///< CONNECT: would flows like this one be taken on a trunk?
    open,   ///< NOOP: this connection becomes a trunk. The reply has its token
    join,   ///< NOOP: this connection carries on stream `stream` of the trunk with this token
  };
  What what = What::offer;
  std::array<std::uint8_t, trunk_token_bytes> token{};
  std::uint32_t stream = 0;  ///< of join only
  friend bool operator==(const TrunkOption&, const TrunkOption&) = default;
};

/// The body after kind and length; nothing if it is malformed or of a version that we do not know.
[[nodiscard]] std::optional<TrunkOption> decode_trunk_option(ByteSpan body);
/// The whole option.
void encode_trunk_option(const TrunkOption& option, socks::Writer& writer);

}  // namespace epif::socks6
