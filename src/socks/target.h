#pragma once
#include <cstdint>
#include <string_view>
#include <variant>

#include "base/ip.h"

namespace epif::socks {

/// Host and port as a SOCKS message carries them. A name is a view into the message's bytes: 1..255 bytes, no NUL.
struct Target {
  std::variant<IpAddress, std::string_view> host;
  std::uint16_t port = 0;

  [[nodiscard]] bool is_name() const { return host.index() == 1; }
  /// An owning copy.
  [[nodiscard]] Destination destination() const;
  /// A view of `destination`, which must outlive it.
  [[nodiscard]] static Target of(const Destination& destination);
  [[nodiscard]] static Target of(const SocketAddress& address) { return {address.ip, address.port}; }
  friend bool operator==(const Target&, const Target&) = default;
};

/// Commands; SOCKS4 and 5 have no noop. Other values of the byte are kept as they are, and answered "not supported".
enum class Command : std::uint8_t { noop = 0, connect = 1, bind = 2, udp_associate = 3 };

/// Address types on the wire, SOCKS5 and SOCKS6 (RFC 1928 section 4).
inline constexpr std::uint8_t address_type_v4 = 1;
inline constexpr std::uint8_t address_type_name = 3;
inline constexpr std::uint8_t address_type_v6 = 4;
[[nodiscard]] std::uint8_t address_type(const Target& target);

/// Result of an operation. Values are those of SOCKS6 (draft-12 section 8) and, up to 8, of SOCKS5 (RFC 1928 section 6).
enum class Reply : std::uint8_t {
  success = 0,
  general_failure = 1,
  not_allowed = 2,
  network_unreachable = 3,
  host_unreachable = 4,
  connection_refused = 5,
  ttl_expired = 6,
  command_not_supported = 7,
  address_type_not_supported = 8,
  timed_out = 9,  ///< SOCKS6 only; SOCKS5 sends host_unreachable instead
};

/// The reply for our own error, and the error for a reply that a next proxy sent.
[[nodiscard]] Reply reply_for(Code code);
[[nodiscard]] Code code_for(Reply reply);

}  // namespace epif::socks
