#pragma once
#include <array>

#include "base/bytes.h"

/// HKDF with SHA-256 (RFC 5869). Pure.
namespace epif::hkdf {

inline constexpr std::size_t hash_bytes = 32;

[[nodiscard]] std::array<std::uint8_t, hash_bytes> extract(ByteSpan salt, ByteSpan input_key_material);
/// `length` at most 255 * 32 bytes.
[[nodiscard]] Bytes expand(ByteSpan pseudo_random_key, ByteSpan info, std::size_t length);

}  // namespace epif::hkdf
