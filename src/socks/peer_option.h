#pragma once
#include <optional>

#include "socks/target.h"
#include "socks/wire.h"

/// Our own SOCKS6 option for BIND, of the experimental range (draft-12 section 7): the host that is expected to connect, which
/// SOCKS4 and 5 can name and the draft cannot. Layout: docs/socks6-options.md.
namespace epif::socks6 {

inline constexpr std::uint16_t kind_expected_peer = 0xFCE2;

/// The body after kind and length; nothing if it is malformed or of a version that we do not know.
[[nodiscard]] std::optional<socks::Target> decode_expected_peer(ByteSpan body);
/// The whole option. False if the name is empty or too long.
[[nodiscard]] bool encode_expected_peer(const socks::Target& peer, socks::Writer& writer);

}  // namespace epif::socks6
