#pragma once
#include "functions/transform.h"

/// The halves of a pair: bytes between them travel as sealed frames (sealed_frames.h) in both directions.
/// Parameter `cipher`: aes-256-gcm (default) or chacha20-poly1305, equal in both halves. Both need the connection's key.
namespace epif::functions {

/// Nearest to the client; its server side is sealed.
[[nodiscard]] Result<std::unique_ptr<Transform>> open_encrypt(const bridge::Open& open);
/// Nearest to the server; its client side is sealed.
[[nodiscard]] Result<std::unique_ptr<Transform>> open_decrypt(const bridge::Open& open);

}  // namespace epif::functions
