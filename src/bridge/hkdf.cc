#include "bridge/hkdf.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cassert>

namespace epif::hkdf {
namespace {

std::array<std::uint8_t, hash_bytes> hmac(ByteSpan key, ByteSpan data) {
  std::array<std::uint8_t, hash_bytes> out{};
  unsigned length = 0;
  static constexpr std::uint8_t nothing = 0;  // HMAC() takes a null key for "reuse the last one"
  const auto* done = ::HMAC(EVP_sha256(), key.empty() ? &nothing : key.data(), static_cast<int>(key.size()),
                            data.empty() ? &nothing : data.data(), data.size(), out.data(), &length);
  assert(done != nullptr && length == hash_bytes);
  (void)done;
  return out;
}

}  // namespace

std::array<std::uint8_t, hash_bytes> extract(ByteSpan salt, ByteSpan input_key_material) {
  return hmac(salt, input_key_material);
}

Bytes expand(ByteSpan pseudo_random_key, ByteSpan info, std::size_t length) {
  assert(length <= 255 * hash_bytes);
  Bytes out;
  Bytes block;
  for (std::uint8_t counter = 1; out.size() < length; ++counter) {
    block.insert(block.end(), info.begin(), info.end());
    block.push_back(counter);
    const auto hash = hmac(pseudo_random_key, block);
    out.insert(out.end(), hash.begin(), hash.end());
    block.assign(hash.begin(), hash.end());
  }
  out.resize(length);
  return out;
}

}  // namespace epif::hkdf
