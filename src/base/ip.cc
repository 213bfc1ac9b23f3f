#include "base/ip.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace epif {
namespace {

Result<unsigned> parse_number(std::string_view text, unsigned max, std::string_view kind) {
  unsigned value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size() || value > max) {
    return fail(Code::invalid_input, fmt::format("'{}' is not a {} (0 to {})", text, kind, max));
  }
  return value;
}

struct HostPort {
  std::string_view host;
  std::string_view port;  ///< empty if absent
};

/// Splits "host:port" and "[v6]:port"; a bare v6 address (two colons or more, no bracket) has no port.
Result<HostPort> split_host_port(std::string_view text) {
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return fail(Code::invalid_input, fmt::format("'{}' lacks a closing bracket", text));
    const auto rest = text.substr(close + 1);
    if (!rest.empty() && !rest.starts_with(':')) {
      return fail(Code::invalid_input, fmt::format("'{}' has text after the bracket that is not a port", text));
    }
    if (rest.size() == 1) return fail(Code::invalid_input, fmt::format("'{}' has an empty port", text));
    return HostPort{text.substr(1, close - 1), rest.empty() ? rest : rest.substr(1)};
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos) return HostPort{text, {}};
  if (colon + 1 == text.size()) return fail(Code::invalid_input, fmt::format("'{}' has an empty port", text));
  return HostPort{text.substr(0, colon), text.substr(colon + 1)};
}

Result<std::uint16_t> parse_port(std::string_view text) {
  const auto port = parse_number(text, 65535, "port");
  if (!port) return fail(port.error());
  return static_cast<std::uint16_t>(*port);
}

std::string host_port_text(std::string_view host, bool v6, std::uint16_t port) {
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

}  // namespace

IpAddress IpAddress::v4(ByteSpan four_bytes) {
  IpAddress made;
  std::copy_n(four_bytes.begin(), 4, made.bytes_.begin());
  return made;
}

IpAddress IpAddress::v6(ByteSpan sixteen_bytes) {
  IpAddress made;
  made.six_ = true;
  std::copy_n(sixteen_bytes.begin(), 16, made.bytes_.begin());
  return made;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  IpAddress made;
  const std::string terminated(text);
  if (terminated.find('\0') == std::string::npos) {
    if (::inet_pton(AF_INET, terminated.c_str(), made.bytes_.data()) == 1) return made;
    if (::inet_pton(AF_INET6, terminated.c_str(), made.bytes_.data()) == 1) {
      made.six_ = true;
      return made;
    }
  }
  return fail(Code::invalid_input, fmt::format("'{}' is not an IPv4 or IPv6 address", text));
}

bool IpAddress::is_any() const {
  return std::ranges::all_of(bytes(), [](auto byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const {
  const auto plain = unmapped();
  if (plain.is_v4()) return plain.bytes_[0] == 127;
  return plain.bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.begin() + 15, [](auto byte) { return byte == 0; });
}

IpAddress IpAddress::unmapped() const {
  static constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (six_ && std::equal(mapped.begin(), mapped.end(), bytes_.begin())) return v4(ByteSpan(bytes_).subspan(12));
  return *this;
}

std::string IpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  ::inet_ntop(six_ ? AF_INET6 : AF_INET, bytes_.data(), buffer.data(), buffer.size());
  return buffer.data();
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return fail(address.error());
  const unsigned bits = address->is_v4() ? 32 : 128;
  unsigned prefix = bits;
  if (slash != std::string_view::npos) {
    const auto parsed = parse_number(text.substr(slash + 1), bits, "prefix length");
    if (!parsed) return fail(parsed.error());
    prefix = *parsed;
  }
  const auto bytes = address->bytes();
  for (unsigned bit = prefix; bit < bits; ++bit) {
    if ((bytes[bit / 8] >> (7 - bit % 8)) & 1) {
      return fail(Code::invalid_input, fmt::format("'{}' has bits set beyond its prefix", text), {}, {},
                  "write the first address of the block");
    }
  }
  return Cidr{*address, static_cast<std::uint8_t>(prefix)};
}

bool Cidr::contains(const IpAddress& candidate) const {
  if (candidate.is_v4() != address.is_v4()) return false;
  const auto ours = address.bytes();
  const auto theirs = candidate.bytes();
  const std::size_t whole = prefix / 8;
  if (!std::equal(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(whole), theirs.begin())) return false;
  const unsigned rest = prefix % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
  return (ours[whole] & mask) == (theirs[whole] & mask);
}

std::string Cidr::text() const { return fmt::format("{}/{}", address.text(), prefix); }

Result<PortRange> PortRange::parse(std::string_view text) {
  const auto dash = text.find('-');
  const auto first = parse_port(text.substr(0, dash));
  if (!first) return fail(first.error());
  if (dash == std::string_view::npos) return PortRange{*first, *first};
  const auto last = parse_port(text.substr(dash + 1));
  if (!last) return fail(last.error());
  if (*last < *first) return fail(Code::invalid_input, fmt::format("port range '{}' ends before it begins", text));
  return PortRange{*first, *last};
}

std::string PortRange::text() const { return first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last); }

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  const auto parts = split_host_port(text);
  if (!parts) return fail(parts.error());
  if (parts->port.empty()) return fail(Code::invalid_input, fmt::format("'{}' lacks a port", text), {}, {}, "write ADDR:PORT");
  const auto ip = IpAddress::parse(parts->host);
  if (!ip) return fail(ip.error());
  const auto port = parse_port(parts->port);
  if (!port) return fail(port.error());
  return SocketAddress{*ip, *port};
}

std::string SocketAddress::text() const { return host_port_text(ip.text(), ip.is_v6(), port); }

Result<Destination> Destination::parse(std::string_view text) {
  const auto parts = split_host_port(text);
  if (!parts) return fail(parts.error());
  if (parts->port.empty()) return fail(Code::invalid_input, fmt::format("'{}' lacks a port", text), {}, {}, "write HOST:PORT");
  const auto port = parse_port(parts->port);
  if (!port) return fail(port.error());
  if (const auto ip = IpAddress::parse(parts->host)) return Destination{*ip, *port};
  if (parts->host.empty() || parts->host.size() > 255 ||
      parts->host.find_first_of(std::string_view("\0:[]", 4)) != std::string_view::npos) {
    return fail(Code::invalid_input, fmt::format("'{}' has no usable host name", text));
  }
  return Destination{std::string(parts->host), *port};
}

std::string Destination::text() const {
  if (const auto* ip = std::get_if<IpAddress>(&host)) return host_port_text(ip->text(), ip->is_v6(), port);
  return host_port_text(std::get<std::string>(host), false, port);
}

Result<CaptureTarget> CaptureTarget::parse(std::string_view text) {
  // A prefix may carry a port behind it: "10.0.0.0/8:80", "[fd09::]/64:80" is written "[fd09::/64]:80".
  const auto parts = split_host_port(text);
  if (!parts) return fail(parts.error());
  const auto block = Cidr::parse(parts->host);
  if (!block) return fail(block.error());
  if (parts->port.empty()) return CaptureTarget{*block, {}};
  const auto ports = PortRange::parse(parts->port);
  if (!ports) return fail(ports.error());
  return CaptureTarget{*block, *ports};
}

std::string CaptureTarget::text() const {
  if (ports.is_all()) return block.text();
  return block.address.is_v6() ? fmt::format("[{}]:{}", block.text(), ports.text())
                               : fmt::format("{}:{}", block.text(), ports.text());
}

}  // namespace epif
