#pragma once
#include "base/bytes.h"
#include "socks/decoded.h"
#include "socks/target.h"

/// The header of every datagram between a SOCKS5 client and its relay (RFC 1928 section 7): `00 00 frag atyp addr port data`.
namespace epif::socks5 {

struct Datagram {
  std::uint8_t fragment = 0;  ///< 0: whole; a relay without reassembly drops everything else
  socks::Target target;       ///< destination from the client, source towards it
  ByteSpan payload;           ///< to the end of the packet; may be empty
};

/// Reads one packet. NeedMore means that the packet ends within its header. The reserved bytes are ignored.
[[nodiscard]] socks::Decoded<Datagram> decode_datagram(ByteSpan packet);

inline constexpr std::size_t datagram_header_max_bytes = 3 + 1 + 1 + 255 + 2;
/// Writes the header for a whole datagram; the payload follows it. Returns the bytes written, 0 if `out` is too small or the
/// name is outside of its limits.
[[nodiscard]] std::size_t encode_datagram_header(const socks::Target& target, MutableByteSpan out);

}  // namespace epif::socks5
