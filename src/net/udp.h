#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/ip.h"

/// UDP sockets and what comes with a datagram. Nothing here blocks.
namespace epif::net {

struct UdpOptions {
  std::optional<std::uint32_t> mark{};
  bool transparent = false;  ///< bound to, and hears for, addresses that are not this node's
  bool reuse_port = false;   ///< one socket a thread
  bool reuse_address = false;
  bool original_destination = false;  ///< Received::destination is wanted
};
/// A bound socket; port 0 lets the kernel choose. Errors: address_in_use, permission, no_descriptors, io.
[[nodiscard]] Result<Fd> udp_socket(const SocketAddress& at, const UdpOptions& options);

struct Received {
  ByteSpan payload;           ///< inside of the caller's buffer
  SocketAddress from;
  SocketAddress destination;  ///< where it was sent to
  bool over_loopback = false; ///< a program of this node sent it; only with original_destination
};
/// The next datagram, if one is there. One that does not fit into `buffer` is dropped. Errors (an ICMP answer among them) are
/// the socket's and leave it usable.
[[nodiscard]] std::optional<Received> receive_datagram(int fd, MutableByteSpan buffer, bool& would_block);
/// False if the kernel did not take it.
bool send_datagram(int fd, ByteSpan payload, const SocketAddress& to);

}  // namespace epif::net
