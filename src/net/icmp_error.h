#pragma once
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/ip.h"

/// What routers and hosts say of packets that did not arrive (RFC 792, RFC 4443), as the system hands it to their socket.
namespace epif::net {

/// An ICMP message that a packet of ours met.
struct IcmpError {
  SocketAddress destination;  ///< of that packet; TCP knows it from its connection
  IpAddress reporter;
  bool six = false;           ///< ICMPv6; decides the meaning of type and code
  std::uint8_t type = 0;
  std::uint8_t code = 0;
};

/// The next one that waits at a UDP socket with icmp_errors, or at a TCP socket that connects. Local refusals are passed over.
[[nodiscard]] std::optional<IcmpError> next_icmp_error(int fd);

/// The data of one control message of such a socket (struct sock_extended_err, the reporter's address behind it) about a packet to
/// `destination`. Nothing for local refusals, and for data that is too short. Pure.
[[nodiscard]] std::optional<IcmpError> read_icmp_error(ByteSpan report, const SocketAddress& destination);

/// What it means for a connection that is being made: net_unreachable, host_unreachable, refused or ttl_expired. Nothing if it
/// is no end of the attempt.
[[nodiscard]] std::optional<Code> ends_attempt(const IcmpError& met);

/// Has an IPv6 socket keep its ICMP messages while it connects; TCP over IPv4 does so unasked. To be switched off once the
/// connection stands: each of them would end it. MPTCP keeps none.
void keep_icmp_errors(int fd, bool on);

}  // namespace epif::net
