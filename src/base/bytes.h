#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace epif {

using Bytes = std::vector<std::uint8_t>;
using ByteSpan = std::span<const std::uint8_t>;
using MutableByteSpan = std::span<std::uint8_t>;

/// Views text as bytes and back; no copy, same lifetime.
[[nodiscard]] inline ByteSpan as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Big-endian (network order) access, as all wire formats here use. `at` has room for the value.
[[nodiscard]] inline std::uint16_t load_u16(const std::uint8_t* at) {
  return static_cast<std::uint16_t>((at[0] << 8) | at[1]);
}
[[nodiscard]] inline std::uint32_t load_u32(const std::uint8_t* at) {
  return (std::uint32_t{load_u16(at)} << 16) | load_u16(at + 2);
}
[[nodiscard]] inline std::uint64_t load_u64(const std::uint8_t* at) {
  return (std::uint64_t{load_u32(at)} << 32) | load_u32(at + 4);
}
inline void store_u16(std::uint8_t* at, std::uint16_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}
inline void store_u32(std::uint8_t* at, std::uint32_t value) {
  store_u16(at, static_cast<std::uint16_t>(value >> 16));
  store_u16(at + 2, static_cast<std::uint16_t>(value));
}
inline void store_u64(std::uint8_t* at, std::uint64_t value) {
  store_u32(at, static_cast<std::uint32_t>(value >> 32));
  store_u32(at + 4, static_cast<std::uint32_t>(value));
}

/// Lower-case hexadecimal and standard base64 (RFC 4648, padded). The decoders return an empty vector for text that is
/// not well-formed.
[[nodiscard]] std::string to_hex(ByteSpan bytes);
[[nodiscard]] Bytes from_hex(std::string_view text);
[[nodiscard]] std::string to_base64(ByteSpan bytes);
[[nodiscard]] Bytes from_base64(std::string_view text);

}  // namespace epif
