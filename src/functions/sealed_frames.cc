#include "functions/sealed_frames.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cassert>

#include "bridge/hkdf.h"

namespace epif::functions {
namespace {

constexpr std::uint8_t frame_data = 1;
constexpr std::uint8_t frame_final = 2;
constexpr std::string_view where = "sealed stream";

std::array<std::uint8_t, seal_header_bytes> stream_header(Suite suite) {
  return {'E', 'P', 'I', 'F', 1, static_cast<std::uint8_t>(suite), 0, 0};
}

const EVP_CIPHER* cipher_of(Suite suite) {
  return suite == Suite::aes_256_gcm ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
}

Bytes derive(ByteSpan secret, Suite suite, bridge::Direction direction, std::string_view what, std::size_t length) {
  Bytes info(1, static_cast<std::uint8_t>(suite));
  for (const auto part : {bridge::name(direction), std::string_view(" "), what}) info.insert(info.end(), part.begin(), part.end());
  return hkdf::expand(secret, info, length);
}

}  // namespace

Result<Suite> parse_suite(std::string_view text) {
  if (text == "aes-256-gcm") return Suite::aes_256_gcm;
  if (text == "chacha20-poly1305") return Suite::chacha20_poly1305;
  return fail(Code::invalid_input, "no such cipher", "parameter cipher", std::string(text), "use aes-256-gcm or chacha20-poly1305");
}

void FreeCipher::operator()(evp_cipher_ctx_st* cipher) const { EVP_CIPHER_CTX_free(cipher); }

FrameCipher::FrameCipher(Suite suite, ByteSpan connection_key, bridge::Direction direction, bool seals)
    : cipher_(EVP_CIPHER_CTX_new()) {
  auto secret = hkdf::extract(as_bytes("epif sealed stream v1"), connection_key);
  auto key = derive(secret, suite, direction, "key", 32);
  const auto nonce = derive(secret, suite, direction, "nonce", sizeof base_nonce_);
  std::copy(nonce.begin(), nonce.end(), base_nonce_);
  const int good = cipher_ ? EVP_CipherInit_ex(cipher_.get(), cipher_of(suite), nullptr, key.data(), base_nonce_, seals ? 1 : 0) : 0;
  assert(good == 1);
  static_cast<void>(good);
  OPENSSL_cleanse(secret.data(), secret.size());
  OPENSSL_cleanse(key.data(), key.size());
}

void FrameCipher::next_nonce(std::uint8_t* nonce) {
  std::uint8_t number[8];
  store_u64(number, number_++);
  std::copy(std::begin(base_nonce_), std::end(base_nonce_), nonce);
  for (int i = 0; i < 8; ++i) nonce[4 + i] ^= number[i];
}

Result<> FrameCipher::seal(ByteSpan header, ByteSpan plain, Bytes& out) {
  std::uint8_t nonce[sizeof base_nonce_];
  next_nonce(nonce);
  const auto at = out.size();
  out.resize(at + plain.size() + frame_tag_bytes);
  int length = 0;
  auto* context = cipher_.get();
  const bool good = EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1 &&
                    EVP_EncryptUpdate(context, nullptr, &length, header.data(), static_cast<int>(header.size())) == 1 &&
                    (plain.empty() || EVP_EncryptUpdate(context, out.data() + at, &length, plain.data(),
                                                        static_cast<int>(plain.size())) == 1) &&
                    EVP_EncryptFinal_ex(context, out.data() + at + plain.size(), &length) == 1 &&
                    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, frame_tag_bytes, out.data() + at + plain.size()) == 1;
  if (!good) return fail(Code::internal, "sealing a frame failed", std::string(where));
  return {};
}

Result<> FrameCipher::open(ByteSpan header, ByteSpan sealed, Bytes& out) {
  assert(sealed.size() >= frame_tag_bytes);
  std::uint8_t nonce[sizeof base_nonce_];
  next_nonce(nonce);
  const auto at = out.size();
  const auto body = sealed.first(sealed.size() - frame_tag_bytes);
  std::array<std::uint8_t, frame_tag_bytes> tag{};
  std::copy(sealed.end() - frame_tag_bytes, sealed.end(), tag.begin());
  out.resize(at + body.size());
  std::uint8_t none = 0;
  int length = 0;
  auto* context = cipher_.get();
  const bool good =
      EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1 &&
      EVP_DecryptUpdate(context, nullptr, &length, header.data(), static_cast<int>(header.size())) == 1 &&
      (body.empty() || EVP_DecryptUpdate(context, out.data() + at, &length, body.data(), static_cast<int>(body.size())) == 1) &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, frame_tag_bytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context, &none, &length) == 1;
  if (good) return {};
  out.resize(at);  // nothing that did not authenticate is passed on
  return fail(Code::protocol, "a frame does not authenticate", std::string(where),
              "wrong key, or the stream was changed, reordered or replayed");
}

Result<> Sealer::frame(std::uint8_t type, ByteSpan plain, Bytes& out) {
  if (!started_) {
    const auto header = stream_header(suite_);
    out.insert(out.end(), header.begin(), header.end());
    started_ = true;
  }
  std::array<std::uint8_t, frame_header_bytes> header{};
  store_u32(header.data(), static_cast<std::uint32_t>(plain.size() + frame_tag_bytes));
  header[0] = type;
  out.insert(out.end(), header.begin(), header.end());
  return cipher_.seal(header, plain, out);
}

Result<> Sealer::seal(ByteSpan plain, Bytes& out) {
  while (!plain.empty()) {
    const auto part = plain.first(std::min(plain.size(), frame_plain_max_bytes));
    if (auto done = frame(frame_data, part, out); !done) return done;
    plain = plain.subspan(part.size());
  }
  return {};
}

Result<> Sealer::finish(Bytes& out) { return frame(frame_final, {}, out); }

// Takes one header or frame from the front of `in`; 0 if it is not whole yet.
Result<std::size_t> Opener::take(ByteSpan in, Bytes& out) {
  if (!started_) {
    const auto header = stream_header(suite_);
    const auto have = std::min(in.size(), header.size());
    if (!std::equal(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(have), header.begin()))
      return fail(Code::protocol, "the stream is not sealed by the other half of this pair", std::string(where));
    if (have < header.size()) return std::size_t{0};
    started_ = true;
    return header.size();
  }
  if (final_) return fail(Code::protocol, "bytes after the final frame", std::string(where));
  if (in.size() < frame_header_bytes) return std::size_t{0};
  const std::uint8_t type = in[0];
  const std::size_t length = load_u32(in.data()) & 0xFFFFFF;
  const bool sane = type == frame_data ? length > frame_tag_bytes && length <= frame_plain_max_bytes + frame_tag_bytes
                                       : type == frame_final && length == frame_tag_bytes;
  if (!sane) return fail(Code::protocol, "not a frame", std::string(where));
  if (in.size() < frame_header_bytes + length) return std::size_t{0};
  if (auto opened = cipher_.open(in.first(frame_header_bytes), in.subspan(frame_header_bytes, length), out); !opened)
    return fail(opened.error());
  final_ = type == frame_final;
  return frame_header_bytes + length;
}

Result<> Opener::open(ByteSpan in, Bytes& out) {
  const bool joined = !partial_.empty();
  if (joined) partial_.insert(partial_.end(), in.begin(), in.end());
  ByteSpan rest = joined ? ByteSpan(partial_) : in;
  while (!rest.empty()) {
    const auto taken = take(rest, out);
    if (!taken) return fail(taken.error());
    if (*taken == 0) break;
    rest = rest.subspan(*taken);
  }
  Bytes left(rest.begin(), rest.end());
  partial_ = std::move(left);
  return {};
}

Result<> Opener::finish() const {
  if (final_) return {};
  return fail(Code::truncated, "the sealed stream ended before its final frame", std::string(where));
}

}  // namespace epif::functions
