#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip.h"

/// Probe packets as bytes, and what a captured packet says. Pure.
namespace epif::leak {

/// What tells a probe apart from all other traffic: 16 letters and digits, so that it may stand in a DNS label.
inline constexpr std::size_t token_bytes = 16;
[[nodiscard]] std::string make_token();

/// Both ends of one family.
struct Ends {
  IpAddress from;
  IpAddress to;
};

/// What a header may say besides the addresses.
struct HeaderWish {
  std::uint16_t fragment = 0;  ///< as in IPv4's field: offset / 8, with 0x2000 for "more follow"
  std::uint16_t id = 7;        ///< of the fragments
  Bytes options{};             ///< IPv4 options, a multiple of 4 bytes; IPv6: a whole routing header without its first byte
};

/// A whole IPv4 or IPv6 packet with header checksum. IPv6 fragments get a fragment header.
[[nodiscard]] Bytes ip_packet(const Ends& ends, std::uint8_t protocol, ByteSpan payload, const HeaderWish& wish = {});
/// Transport headers with checksums, `data` behind them.
[[nodiscard]] Bytes udp_datagram(const Ends& ends, std::uint16_t from, std::uint16_t to, ByteSpan data);
[[nodiscard]] Bytes tcp_syn(const Ends& ends, std::uint16_t from, std::uint16_t to, ByteSpan data);
[[nodiscard]] Bytes echo_request(const Ends& ends, ByteSpan data);
/// UDP-Lite (136), SCTP (132) or DCCP (33): a header with the ports, `data` behind it.
[[nodiscard]] Bytes other_transport(std::uint8_t protocol, std::uint16_t from, std::uint16_t to, ByteSpan data);
/// GRE (RFC 2784) around an IP packet.
[[nodiscard]] Bytes gre(bool v6, ByteSpan packet);
/// A DNS question for the address of `<label>.example` (RFC 1035); over TCP with its length in front.
[[nodiscard]] Bytes dns_query(std::string_view label, bool tcp);
/// The same question for a whole name, given as it stands in messages.
[[nodiscard]] Bytes dns_question(std::string_view wire_name, bool tcp);
/// "pacs.example" as messages write it (RFC 1035, section 3.1): a length before each label, 0 behind the last. Empty if it is no name.
[[nodiscard]] std::string wire_name(std::string_view name);
/// A QUIC version 1 Initial of 1200 bytes (RFC 9000, section 17.2.2) whose connection id is `id`. Its payload is noise.
[[nodiscard]] Bytes quic_initial(std::string_view id);
/// Options that route over `via` to `last`: IPv4 loose source route, or IPv6 routing header type 4 with one segment.
[[nodiscard]] Bytes source_route(const IpAddress& last);

/// The internet checksum (RFC 1071) of `bytes`, begun with `sum`.
[[nodiscard]] std::uint16_t checksum(ByteSpan bytes, std::uint32_t sum = 0);

/// The address part of a captured packet.
struct Header {
  IpAddress from;
  IpAddress to;
  std::uint8_t protocol = 0;
  std::uint16_t from_port = 0;  ///< of TCP, UDP and their like in a first fragment, else 0
  std::uint16_t to_port = 0;
  bool plain = true;            ///< without options, routing headers or fragments
  std::optional<IpAddress> asked{};  ///< a neighbour solicitation (IPv6): whose link address is asked for
  bool neighbour = false;            ///< neighbour solicitation or advertisement
};
/// What stands where the network header should be; looks behind VLAN tags that the sender hid. Nothing if it is no IP.
[[nodiscard]] std::optional<Header> read_header(ByteSpan packet);
/// The address that an ARP request asks for.
[[nodiscard]] std::optional<IpAddress> asked_by_arp(ByteSpan packet);

}  // namespace epif::leak
