#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

/// Hybrid Public Key Encryption (RFC 9180) as epif uses it: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, export only.
/// The near proxy encapsulates to the far one in mode auth, so that both know who the other is; the exported 32 bytes
/// are the one connection's key for the halves of a pair (architecture.md rule 7). No secret here crosses the control plane.
namespace epif::hpke {

inline constexpr std::size_t key_bytes = 32;
using PublicKey = std::array<std::uint8_t, key_bytes>;

/// 32 secret bytes; wiped when destroyed or moved from. Copies are explicit by `bytes()`.
class Secret {
 public:
  Secret() = default;
  explicit Secret(ByteSpan thirty_two_bytes);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret();
  [[nodiscard]] ByteSpan bytes() const { return bytes_; }

 private:
  std::array<std::uint8_t, key_bytes> bytes_{};
};

/// An X25519 key pair (RFC 7748).
struct KeyPair {
  Secret secret;
  PublicKey public_key{};

  [[nodiscard]] static Result<KeyPair> generate();
  /// Computes the public half.
  [[nodiscard]] static Result<KeyPair> from_secret(ByteSpan thirty_two_bytes);
  /// Reads a key file (base64 of the secret half, one line). A file that others may read is refused: Code::permission.
  [[nodiscard]] static Result<KeyPair> load(const std::filesystem::path& file);
  /// Writes it atomically with mode 0600; an existing file is replaced.
  [[nodiscard]] Result<> save(const std::filesystem::path& file) const;
  /// load(), or generate() and save() when there is no file.
  [[nodiscard]] static Result<KeyPair> load_or_create(const std::filesystem::path& file);
  /// The public half as it stands in status and routes: base64.
  [[nodiscard]] std::string public_text() const;
};

/// Reads base64 of 32 bytes.
[[nodiscard]] Result<PublicKey> parse_public_key(std::string_view base64);

/// The bytes that both proxies bind a connection's key to: flow id, near and far identity, purpose. Each is length-prefixed.
[[nodiscard]] Bytes connection_info(std::string_view flow_id, std::string_view near_identity, std::string_view far_identity,
                                    std::string_view purpose);

struct Encapsulated {
  PublicKey enc{};  ///< what the far proxy needs; public, carried in the SOCKS6 option
  Secret key;       ///< the connection's key, as the far proxy's decapsulate() returns it
};

/// RFC 9180 SetupAuthS (section 5.1.3), then Export(exporter_context "epif connection key v1", L = 32).
/// Fresh randomness on every call. Fails with Code::protocol on a public key of small order.
[[nodiscard]] Result<Encapsulated> encapsulate(const PublicKey& recipient, const KeyPair& sender, ByteSpan info);
/// RFC 9180 SetupAuthR with the same export. A wrong sender, recipient or info gives a different key, not an error:
/// the first frame under it fails to authenticate.
[[nodiscard]] Result<Secret> decapsulate(ByteSpan enc, const KeyPair& recipient, const PublicKey& sender, ByteSpan info);

// The parts below exist so that the RFC's published vectors can be checked; the product uses the functions above.

enum class Mode : std::uint8_t { base = 0, auth = 2 };
enum class Aead : std::uint16_t { aes_128_gcm = 1, chacha20_poly1305 = 3, export_only = 0xFFFF };

/// The key schedule's result (section 5.1). `key` and `base_nonce` are empty for export_only.
struct Context {
  Aead aead = Aead::export_only;
  Bytes key;
  Bytes base_nonce;
  Bytes exporter_secret;

  /// Section 5.3.
  [[nodiscard]] Bytes export_secret(ByteSpan exporter_context, std::size_t length) const;
  /// Section 5.2, message number `sequence`; seal appends the 16-byte tag.
  [[nodiscard]] Result<Bytes> seal(std::uint64_t sequence, ByteSpan aad, ByteSpan plain) const;
  [[nodiscard]] Result<Bytes> open(std::uint64_t sequence, ByteSpan aad, ByteSpan sealed) const;
};

/// DeriveKeyPair (section 7.1.3).
[[nodiscard]] Result<KeyPair> derive_key_pair(ByteSpan input_key_material);
/// Encap/AuthEncap (section 4.1) with a given ephemeral key; `sender` is null in mode base.
[[nodiscard]] Result<Bytes> encap_shared_secret(const KeyPair& ephemeral, const PublicKey& recipient, const KeyPair* sender);
/// Decap/AuthDecap; `sender` is null in mode base.
[[nodiscard]] Result<Bytes> decap_shared_secret(const PublicKey& enc, const KeyPair& recipient, const PublicKey* sender);
[[nodiscard]] Context key_schedule(Mode mode, Aead aead, ByteSpan shared_secret, ByteSpan info);

}  // namespace epif::hpke
