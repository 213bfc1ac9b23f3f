#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "bridge/message.h"

// OpenSSL's own name, so that its headers stay in the .cc files.
struct evp_cipher_ctx_st;

/// The wire format between encrypt and decrypt: authenticated frames over one byte stream, each direction by itself.
/// Direction header, 8 bytes: "EPIF", version 1, suite, 0, 0. Then frames: type (1 byte: 1 data, 2 final), length of the
/// sealed part (3 bytes, big-endian), sealed part with its 16-byte tag last. The frame's 4 header bytes are its additional
/// data; the nonce is the direction's base nonce XOR the frame's number from 0 (as RFC 8446, section 5.3), so a frame
/// that is missing, doubled, moved or of another connection or direction does not authenticate. The final frame seals no bytes;
/// a stream that ends without it was truncated. Keys: HKDF-SHA256 over the connection's key, labelled per suite and direction.
namespace epif::functions {

enum class Suite : std::uint8_t { aes_256_gcm = 1, chacha20_poly1305 = 2 };
/// "aes-256-gcm" or "chacha20-poly1305".
[[nodiscard]] Result<Suite> parse_suite(std::string_view text);

inline constexpr std::size_t frame_plain_max_bytes = 16'384;
inline constexpr std::size_t frame_tag_bytes = 16;
inline constexpr std::size_t frame_header_bytes = 4;
inline constexpr std::size_t seal_header_bytes = 8;

struct FreeCipher {
  void operator()(evp_cipher_ctx_st* cipher) const;
};

/// One direction's key, nonce and frame counter.
class FrameCipher {
 public:
  FrameCipher(Suite suite, ByteSpan connection_key, bridge::Direction direction, bool seals);
  /// Seals or opens one frame's content into `out` (appended); for sealing the tag comes last.
  [[nodiscard]] Result<> seal(ByteSpan header, ByteSpan plain, Bytes& out);
  [[nodiscard]] Result<> open(ByteSpan header, ByteSpan sealed, Bytes& out);

 private:
  void next_nonce(std::uint8_t* nonce);
  std::unique_ptr<evp_cipher_ctx_st, FreeCipher> cipher_;
  std::uint8_t base_nonce_[12] = {};
  std::uint64_t number_ = 0;
};

class Sealer {
 public:
  Sealer(Suite suite, ByteSpan connection_key, bridge::Direction direction)
      : suite_(suite), cipher_(suite, connection_key, direction, true) {}
  [[nodiscard]] Result<> seal(ByteSpan plain, Bytes& out);
  [[nodiscard]] Result<> finish(Bytes& out);

 private:
  [[nodiscard]] Result<> frame(std::uint8_t type, ByteSpan plain, Bytes& out);
  Suite suite_;
  FrameCipher cipher_;
  bool started_ = false;
};

class Opener {
 public:
  Opener(Suite suite, ByteSpan connection_key, bridge::Direction direction)
      : suite_(suite), cipher_(suite, connection_key, direction, false) {}
  /// Takes any split of the stream; appends what authenticated. Errors: protocol (wrong key, changed, reordered, replayed,
  /// another suite, bytes after the final frame).
  [[nodiscard]] Result<> open(ByteSpan in, Bytes& out);
  /// The stream has ended. Error: truncated, if it did so before its final frame.
  [[nodiscard]] Result<> finish() const;

 private:
  [[nodiscard]] Result<std::size_t> take(ByteSpan in, Bytes& out);
  Suite suite_;
  FrameCipher cipher_;
  Bytes partial_;
  bool started_ = false;
  bool final_ = false;
};

}  // namespace epif::functions
