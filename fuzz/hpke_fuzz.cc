// Keys and encapsulations of other hospitals. The first byte picks: a public key as text, which is read in one spelling only; or `enc` and
// a sender's public key, which give the same key each time, or a protocol fault, and never for a peer that was not meant.
#include <algorithm>
#include <cstdlib>

#include "base/bytes.h"
#include "bridge/hpke.h"

using namespace epif;

namespace {

hpke::KeyPair pair_of(std::uint8_t byte) { return hpke::KeyPair::from_secret(Bytes(hpke::key_bytes, byte)).value(); }

bool same(const hpke::Secret& one, const hpke::Secret& other) {
  return std::equal(one.bytes().begin(), one.bytes().end(), other.bytes().begin());
}

void check_text(std::string_view text) {
  const auto key = hpke::parse_public_key(text);
  if (key && to_base64(*key) != text) std::abort();
}

void check_decapsulation(ByteSpan enc, const hpke::PublicKey& sender, ByteSpan info) {
  static const auto here = pair_of(1), other = pair_of(2);
  const auto first = hpke::decapsulate(enc, here, sender, info);
  const auto again = hpke::decapsulate(enc, here, sender, info);
  if (first.has_value() != again.has_value()) std::abort();
  if (!first) {
    if (first.error().code != Code::protocol) std::abort();
    return;
  }
  if (!same(*first, *again)) std::abort();
  if (const auto elsewhere = hpke::decapsulate(enc, other, sender, info); elsewhere && same(*first, *elsewhere)) std::abort();
}

void check_encapsulation(const hpke::PublicKey& recipient, ByteSpan info) {
  static const auto sender = pair_of(3);
  const auto made = hpke::encapsulate(recipient, sender, info);
  if (!made && made.error().code != Code::protocol) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan rest(data + 1, size - 1);
  if ((data[0] & 1) == 0) {
    check_text(as_text(rest));
    return 0;
  }
  // Sender's key, length of `enc` (it may be wrong), `enc`, info.
  if (rest.size() < hpke::key_bytes + 1) return 0;
  hpke::PublicKey key{};
  std::copy_n(rest.begin(), hpke::key_bytes, key.begin());
  const auto tail = rest.subspan(hpke::key_bytes + 1);
  const auto length = std::min<std::size_t>(rest[hpke::key_bytes] % 48, tail.size());
  check_decapsulation(tail.first(length), key, tail.subspan(length));
  check_encapsulation(key, tail);
  return 0;
}
