#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

/// Frames of a trunk: one connection that carries many streams. Layout and meaning: docs/trunk.md.
namespace epif::net {

struct TrunkFrame {
  enum class Kind : std::uint8_t {
    data,    ///< `length` bytes of the stream follow
    reset,   ///< the stream has failed, both ways
    credit,  ///< 4 bytes follow: so many more bytes may be sent
    drain,   ///< of the trunk (stream 0): open no more streams
    moved,   ///< this direction of the stream goes on in a connection of its own
  };
  Kind kind = Kind::data;
  bool opens = false;  ///< data only: the first frame of its stream
  bool ends = false;   ///< data only: the stream's direction ends behind these bytes
  std::uint16_t length = 0;
  std::uint32_t stream = 0;  ///< 1 and up, chosen by the opener, never used again
  friend bool operator==(const TrunkFrame&, const TrunkFrame&) = default;
};

inline constexpr std::size_t trunk_header_bytes = 8;
inline constexpr std::size_t trunk_credit_bytes = 4;

/// Reads the header that `received` begins with. `received` holds trunk_header_bytes at least. Nothing if it is malformed.
[[nodiscard]] std::optional<TrunkFrame> decode_trunk_frame(ByteSpan received);
[[nodiscard]] std::array<std::uint8_t, trunk_header_bytes> encode_trunk_frame(const TrunkFrame& frame);

}  // namespace epif::net
