#pragma once
#include "base/bytes.h"
#include "socks/decoded.h"
#include "socks/target.h"

/// SOCKS4 and SOCKS4a, server side.
namespace epif::socks4 {

inline constexpr std::uint8_t version = 4;
inline constexpr std::size_t reply_bytes = 8;

/// `04 cmd port(2) ip(4) userid 00 [name 00]`; the name is there if ip is 0.0.0.x with x != 0 (4a).
struct Request {
  socks::Command command = socks::Command::connect;
  socks::Target target;
  std::string_view user;  ///< unverified; at most limits::socks4_user_max_bytes
  friend bool operator==(const Request&, const Request&) = default;
};

enum class ReplyCode : std::uint8_t { granted = 0x5a, rejected = 0x5b };

[[nodiscard]] socks::Decoded<Request> decode_request(ByteSpan received);

/// Writes the 8-byte reply. An IPv6 or name address stands as 0.0.0.0. Returns the size, 0 if `out` is too small.
[[nodiscard]] std::size_t encode_reply(ReplyCode code, const SocketAddress& bound, MutableByteSpan out);

}  // namespace epif::socks4
