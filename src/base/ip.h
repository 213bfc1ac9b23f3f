#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/error.h"

namespace epif {

/// An IPv4 or IPv6 address as a value. IPv4 occupies the first 4 of 16 bytes; the rest is zero. Ordered v4 before v6.
class IpAddress {
 public:
  IpAddress() = default;  ///< 0.0.0.0
  [[nodiscard]] static IpAddress v4(ByteSpan four_bytes);
  [[nodiscard]] static IpAddress v6(ByteSpan sixteen_bytes);
  /// Dotted quad or RFC 4291 text, without brackets, zone or port.
  [[nodiscard]] static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] bool is_v4() const { return !six_; }
  [[nodiscard]] bool is_v6() const { return six_; }
  [[nodiscard]] bool is_any() const;       ///< 0.0.0.0 or ::
  [[nodiscard]] bool is_loopback() const;  ///< 127.0.0.0/8, ::1, and ::ffff:127.0.0.0/104
  /// ::ffff:a.b.c.d as a.b.c.d; everything else unchanged. Apply before comparing with rules.
  [[nodiscard]] IpAddress unmapped() const;
  [[nodiscard]] ByteSpan bytes() const { return {bytes_.data(), six_ ? 16u : 4u}; }
  [[nodiscard]] std::string text() const;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
  friend bool operator==(const IpAddress&, const IpAddress&) = default;

 private:
  bool six_ = false;
  std::array<std::uint8_t, 16> bytes_{};
};

/// An address block. `prefix` counts bits: 0..32 or 0..128; host bits of `address` are zero.
struct Cidr {
  IpAddress address;
  std::uint8_t prefix = 32;

  /// "10.1.0.0/16"; a bare address means /32 or /128. Host bits set are an error (a typo more often than a wish).
  [[nodiscard]] static Result<Cidr> parse(std::string_view text);
  [[nodiscard]] bool contains(const IpAddress& candidate) const;
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Cidr&, const Cidr&) = default;
};

/// A port range, both ends included. Default: all ports.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;

  /// "80" or "8000-8100".
  [[nodiscard]] static Result<PortRange> parse(std::string_view text);
  [[nodiscard]] bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  [[nodiscard]] bool is_all() const { return first == 0 && last == 65535; }
  [[nodiscard]] std::string text() const;
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

/// Address and port of a socket.
struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;

  /// "10.1.0.2:1080" or "[fd09::5]:80".
  [[nodiscard]] static Result<SocketAddress> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
  friend bool operator==(const SocketAddress&, const SocketAddress&) = default;
};

/// Where a connection wants to go: an address or a name (1..255 bytes, no NUL), and a port.
struct Destination {
  std::variant<IpAddress, std::string> host;
  std::uint16_t port = 0;

  /// "host:port", "10.0.0.1:80", "[::1]:80".
  [[nodiscard]] static Result<Destination> parse(std::string_view text);
  [[nodiscard]] bool is_name() const { return host.index() == 1; }
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Destination&, const Destination&) = default;
};

/// What the redirector captures: a block with a port range. "10.2.0.10", "10.2.0.0/16:80-90", "[fd09::5]:80", "fd09::/64".
struct CaptureTarget {
  Cidr block;
  PortRange ports;

  [[nodiscard]] static Result<CaptureTarget> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  friend bool operator==(const CaptureTarget&, const CaptureTarget&) = default;
};

}  // namespace epif
