#pragma once
#include "base/bytes.h"
#include "socks/decoded.h"
#include "socks/target.h"
#include "socks/wire.h"

/// What requests, replies and datagrams of SOCKS5 share. Private to src/socks.
namespace epif::socks5 {

/// `atyp addr port` at the start of `received`.
[[nodiscard]] socks::Decoded<socks::Target> decode_target(ByteSpan received);
/// False if the name is empty or too long.
[[nodiscard]] bool encode_target(const socks::Target& target, socks::Writer& writer);

}  // namespace epif::socks5
