// RFC 9180, sections 4.1, 5.1, 5.2, 5.3 and 7.1.3: the parts that the published vectors check.
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cassert>
#include <memory>
#include <utility>

#include "bridge/hkdf.h"
#include "bridge/hpke.h"

namespace epif::hpke {
namespace {

constexpr std::uint8_t kem_id[] = {0x00, 0x20};  // DHKEM(X25519, HKDF-SHA256), section 7.1
constexpr std::uint8_t kdf_id[] = {0x00, 0x01};  // HKDF-SHA256, section 7.2
constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t tag_bytes = 16;

void append(Bytes& out, ByteSpan bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

Bytes kem_suite() {
  Bytes suite;
  append(suite, as_bytes("KEM"));
  append(suite, kem_id);
  return suite;
}

Bytes hpke_suite(Aead aead) {
  Bytes suite;
  append(suite, as_bytes("HPKE"));
  append(suite, kem_id);
  append(suite, kdf_id);
  const auto id = static_cast<std::uint16_t>(aead);
  suite.push_back(static_cast<std::uint8_t>(id >> 8));
  suite.push_back(static_cast<std::uint8_t>(id));
  return suite;
}

// LabeledExtract and LabeledExpand, section 4.
std::array<std::uint8_t, hkdf::hash_bytes> labeled_extract(ByteSpan suite, ByteSpan salt, std::string_view label, ByteSpan ikm) {
  Bytes input;
  append(input, as_bytes("HPKE-v1"));
  append(input, suite);
  append(input, as_bytes(label));
  append(input, ikm);
  return hkdf::extract(salt, input);
}

Bytes labeled_expand(ByteSpan suite, ByteSpan prk, std::string_view label, ByteSpan info, std::size_t length) {
  Bytes input{static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
  append(input, as_bytes("HPKE-v1"));
  append(input, suite);
  append(input, as_bytes(label));
  append(input, info);
  return hkdf::expand(prk, input, length);
}

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

// DH of section 4.1; OpenSSL refuses the all-zero output of a public key of small order, as section 7.1.4 demands.
Result<> diffie_hellman(const Secret& secret, const PublicKey& peer, Bytes& out) {
  const std::unique_ptr<EVP_PKEY, FreeKey> own(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, secret.bytes().data(), key_bytes));
  const std::unique_ptr<EVP_PKEY, FreeKey> other(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), key_bytes));
  std::array<std::uint8_t, key_bytes> shared{};
  std::size_t length = shared.size();
  const std::unique_ptr<EVP_PKEY_CTX, FreeKey> context(own ? EVP_PKEY_CTX_new(own.get(), nullptr) : nullptr);
  const bool good = context && other && EVP_PKEY_derive_init(context.get()) == 1 &&
                    EVP_PKEY_derive_set_peer(context.get(), other.get()) == 1 &&
                    EVP_PKEY_derive(context.get(), shared.data(), &length) == 1 && length == key_bytes;
  if (!good) return fail(Code::protocol, "X25519 key agreement failed", "key encapsulation", "the peer's public key is not usable");
  append(out, shared);
  OPENSSL_cleanse(shared.data(), shared.size());
  return {};
}

// ExtractAndExpand, section 4.1.
Bytes extract_and_expand(Bytes& dh, ByteSpan kem_context) {
  const auto suite = kem_suite();
  const auto prk = labeled_extract(suite, {}, "eae_prk", dh);
  OPENSSL_cleanse(dh.data(), dh.size());
  return labeled_expand(suite, prk, "shared_secret", kem_context, key_bytes);
}

const EVP_CIPHER* cipher_of(Aead aead) {
  assert(aead != Aead::export_only);
  return aead == Aead::aes_128_gcm ? EVP_aes_128_gcm() : EVP_chacha20_poly1305();
}

std::array<std::uint8_t, nonce_bytes> nonce_at(ByteSpan base, std::uint64_t sequence) {
  std::array<std::uint8_t, nonce_bytes> nonce{};
  store_u64(nonce.data() + 4, sequence);
  for (std::size_t i = 0; i < nonce_bytes; ++i) nonce[i] ^= base[i];
  return nonce;
}

}  // namespace

Result<KeyPair> derive_key_pair(ByteSpan input_key_material) {
  const auto suite = kem_suite();
  const auto prk = labeled_extract(suite, {}, "dkp_prk", input_key_material);
  auto secret = labeled_expand(suite, prk, "sk", {}, key_bytes);
  auto pair = KeyPair::from_secret(secret);
  OPENSSL_cleanse(secret.data(), secret.size());
  return pair;
}

Result<Bytes> encap_shared_secret(const KeyPair& ephemeral, const PublicKey& recipient, const KeyPair* sender) {
  Bytes dh;
  if (auto done = diffie_hellman(ephemeral.secret, recipient, dh); !done) return fail(done.error());
  Bytes kem_context(ephemeral.public_key.begin(), ephemeral.public_key.end());
  append(kem_context, recipient);
  if (sender != nullptr) {
    if (auto done = diffie_hellman(sender->secret, recipient, dh); !done) return fail(done.error());
    append(kem_context, sender->public_key);
  }
  return extract_and_expand(dh, kem_context);
}

Result<Bytes> decap_shared_secret(const PublicKey& enc, const KeyPair& recipient, const PublicKey* sender) {
  Bytes dh;
  if (auto done = diffie_hellman(recipient.secret, enc, dh); !done) return fail(done.error());
  Bytes kem_context(enc.begin(), enc.end());
  append(kem_context, recipient.public_key);
  if (sender != nullptr) {
    if (auto done = diffie_hellman(recipient.secret, *sender, dh); !done) return fail(done.error());
    append(kem_context, *sender);
  }
  return extract_and_expand(dh, kem_context);
}

Context key_schedule(Mode mode, Aead aead, ByteSpan shared_secret, ByteSpan info) {
  const auto suite = hpke_suite(aead);
  const auto psk_id_hash = labeled_extract(suite, {}, "psk_id_hash", {});
  const auto info_hash = labeled_extract(suite, {}, "info_hash", info);
  Bytes schedule{static_cast<std::uint8_t>(mode)};
  append(schedule, psk_id_hash);
  append(schedule, info_hash);
  const auto secret = labeled_extract(suite, shared_secret, "secret", {});
  Context context;
  context.aead = aead;
  if (aead != Aead::export_only) {
    context.key = labeled_expand(suite, secret, "key", schedule, aead == Aead::aes_128_gcm ? 16 : 32);
    context.base_nonce = labeled_expand(suite, secret, "base_nonce", schedule, nonce_bytes);
  }
  context.exporter_secret = labeled_expand(suite, secret, "exp", schedule, hkdf::hash_bytes);
  return context;
}

Bytes Context::export_secret(ByteSpan exporter_context, std::size_t length) const {
  return labeled_expand(hpke_suite(aead), exporter_secret, "sec", exporter_context, length);
}

Result<Bytes> Context::seal(std::uint64_t sequence, ByteSpan aad, ByteSpan plain) const {
  const std::unique_ptr<EVP_CIPHER_CTX, FreeKey> cipher(EVP_CIPHER_CTX_new());
  const auto nonce = nonce_at(base_nonce, sequence);
  Bytes out(plain.size() + tag_bytes);
  int length = 0;
  const bool good =
      cipher && EVP_EncryptInit_ex(cipher.get(), cipher_of(aead), nullptr, key.data(), nonce.data()) == 1 &&
      EVP_EncryptUpdate(cipher.get(), nullptr, &length, aad.data(), static_cast<int>(aad.size())) == 1 &&
      EVP_EncryptUpdate(cipher.get(), out.data(), &length, plain.data(), static_cast<int>(plain.size())) == 1 &&
      EVP_EncryptFinal_ex(cipher.get(), out.data() + length, &length) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, tag_bytes, out.data() + plain.size()) == 1;
  if (!good) return fail(Code::internal, "sealing failed", "HPKE context");
  return out;
}

Result<Bytes> Context::open(std::uint64_t sequence, ByteSpan aad, ByteSpan sealed) const {
  if (sealed.size() < tag_bytes) return fail(Code::protocol, "sealed message shorter than its tag", "HPKE context");
  const std::unique_ptr<EVP_CIPHER_CTX, FreeKey> cipher(EVP_CIPHER_CTX_new());
  const auto nonce = nonce_at(base_nonce, sequence);
  const auto body = sealed.first(sealed.size() - tag_bytes);
  Bytes tag(sealed.end() - tag_bytes, sealed.end());
  Bytes out(body.size());
  int length = 0;
  const bool good =
      cipher && EVP_DecryptInit_ex(cipher.get(), cipher_of(aead), nullptr, key.data(), nonce.data()) == 1 &&
      EVP_DecryptUpdate(cipher.get(), nullptr, &length, aad.data(), static_cast<int>(aad.size())) == 1 &&
      EVP_DecryptUpdate(cipher.get(), out.data(), &length, body.data(), static_cast<int>(body.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(cipher.get(), out.data() + length, &length) == 1;
  if (!good) return fail(Code::protocol, "message does not authenticate", "HPKE context");
  return out;
}

}  // namespace epif::hpke
