#include "bridge/hpke.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <cassert>
#include <cerrno>
#include <memory>
#include <utility>

#include "base/fd.h"

namespace epif::hpke {
namespace {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

constexpr std::string_view exporter_context = "epif connection key v1";

Secret exported(ByteSpan shared_secret, ByteSpan info) {
  const auto context = key_schedule(Mode::auth, Aead::export_only, shared_secret, info);
  auto bytes = context.export_secret(as_bytes(exporter_context), key_bytes);
  Secret secret{bytes};
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return secret;
}

}  // namespace

Secret::Secret(ByteSpan thirty_two_bytes) {
  assert(thirty_two_bytes.size() == key_bytes);
  std::copy(thirty_two_bytes.begin(), thirty_two_bytes.end(), bytes_.begin());
}
Secret::Secret(Secret&& other) noexcept : bytes_(other.bytes_) { OPENSSL_cleanse(other.bytes_.data(), key_bytes); }
Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    bytes_ = other.bytes_;
    OPENSSL_cleanse(other.bytes_.data(), key_bytes);
  }
  return *this;
}
Secret::~Secret() { OPENSSL_cleanse(bytes_.data(), key_bytes); }

Result<KeyPair> KeyPair::generate() {
  std::array<std::uint8_t, key_bytes> random{};
  if (RAND_priv_bytes(random.data(), key_bytes) != 1)
    return fail(Code::internal, "the system gives no random bytes", "X25519 key generation");
  auto pair = from_secret(random);
  OPENSSL_cleanse(random.data(), random.size());
  return pair;
}

Result<KeyPair> KeyPair::from_secret(ByteSpan thirty_two_bytes) {
  if (thirty_two_bytes.size() != key_bytes)
    return fail(Code::invalid_input, "an X25519 key has 32 bytes", {}, fmt::format("got {}", thirty_two_bytes.size()));
  const std::unique_ptr<EVP_PKEY, FreeKey> key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, thirty_two_bytes.data(), key_bytes));
  KeyPair pair;
  pair.secret = Secret(thirty_two_bytes);
  std::size_t length = key_bytes;
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), pair.public_key.data(), &length) != 1)
    return fail(Code::internal, "computing an X25519 public key failed");
  return pair;
}

Result<KeyPair> KeyPair::load(const std::filesystem::path& file) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail(system_error(errno, "cannot read key file", file.string()));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail(system_error(errno, "cannot read key file", file.string()));
  if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0)
    return fail(Code::permission, "key file may be read by others", file.string(), "", "chmod 600 it, or remove it and let a new one be made");
  char text[128];
  const auto got = ::read(fd.get(), text, sizeof text);
  if (got < 0) return fail(system_error(errno, "cannot read key file", file.string()));
  std::string_view line(text, static_cast<std::size_t>(got));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  auto secret = from_base64(line);
  OPENSSL_cleanse(text, sizeof text);
  if (secret.size() != key_bytes)
    return fail(Code::invalid_input, "not an X25519 key", file.string(), "expected one line: base64 of 32 bytes");
  auto pair = from_secret(secret);
  OPENSSL_cleanse(secret.data(), secret.size());
  return pair;
}

Result<> KeyPair::save(const std::filesystem::path& file) const {
  const auto temporary = file.string() + ".new";
  ::unlink(temporary.c_str());
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail(system_error(errno, "cannot write key file", temporary));
  auto line = to_base64(secret.bytes()) + "\n";
  const auto put = ::write(fd.get(), line.data(), line.size());
  const bool whole = put == static_cast<ssize_t>(line.size()) && ::fsync(fd.get()) == 0;
  const int why = errno;
  OPENSSL_cleanse(line.data(), line.size());
  if (whole && ::rename(temporary.c_str(), file.c_str()) == 0) return {};
  const auto error = system_error(whole ? errno : why, "cannot write key file", file.string());
  ::unlink(temporary.c_str());
  return fail(error);
}

Result<KeyPair> KeyPair::load_or_create(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) return load(file);
  auto pair = generate();
  if (!pair) return pair;
  if (auto saved = pair->save(file); !saved) return fail(saved.error());
  return pair;
}

std::string KeyPair::public_text() const { return to_base64(public_key); }

Result<PublicKey> parse_public_key(std::string_view base64) {
  const auto bytes = from_base64(base64);
  if (bytes.size() != key_bytes) return fail(Code::invalid_input, "not an X25519 public key", {}, "expected base64 of 32 bytes");
  PublicKey key{};
  std::copy(bytes.begin(), bytes.end(), key.begin());
  return key;
}

Bytes connection_info(std::string_view flow_id, std::string_view near_identity, std::string_view far_identity,
                      std::string_view purpose) {
  Bytes info;
  for (const auto part : {std::string_view("epif-bf v1"), flow_id, near_identity, far_identity, purpose}) {
    std::array<std::uint8_t, 4> length{};
    store_u32(length.data(), static_cast<std::uint32_t>(part.size()));
    info.insert(info.end(), length.begin(), length.end());
    const auto bytes = as_bytes(part);
    info.insert(info.end(), bytes.begin(), bytes.end());
  }
  return info;
}

Result<Encapsulated> encapsulate(const PublicKey& recipient, const KeyPair& sender, ByteSpan info) {
  auto ephemeral = KeyPair::generate();
  if (!ephemeral) return fail(ephemeral.error());
  auto shared = encap_shared_secret(*ephemeral, recipient, &sender);
  if (!shared) return fail(shared.error());
  Encapsulated out{ephemeral->public_key, exported(*shared, info)};
  OPENSSL_cleanse(shared->data(), shared->size());
  return out;
}

Result<Secret> decapsulate(ByteSpan enc, const KeyPair& recipient, const PublicKey& sender, ByteSpan info) {
  if (enc.size() != key_bytes)
    return fail(Code::protocol, "an encapsulated key has 32 bytes", {}, fmt::format("got {}", enc.size()));
  PublicKey point{};
  std::copy(enc.begin(), enc.end(), point.begin());
  auto shared = decap_shared_secret(point, recipient, &sender);
  if (!shared) return fail(shared.error());
  auto secret = exported(*shared, info);
  OPENSSL_cleanse(shared->data(), shared->size());
  return secret;
}

}  // namespace epif::hpke
