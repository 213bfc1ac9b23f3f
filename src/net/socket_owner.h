#pragma once
#include <cstdint>
#include <string>

#include "base/ip.h"

/// Whose a socket of this node is.
namespace epif::net {

struct SocketOwner {
  std::uint32_t user = 0;  ///< who made it
  std::string cgroup;      ///< of its maker at that time, below the cgroup2 mount, without a leading '/'; "" is the root
  friend bool operator==(const SocketOwner&, const SocketOwner&) = default;
};

/// Asks the kernel (sock_diag) for the TCP connection from `local` to `remote` of this network namespace. Errors: not_found (none
/// such, or its program has closed it), io.
[[nodiscard]] Result<SocketOwner> connection_owner(const SocketAddress& local, const SocketAddress& remote);

/// The same for the UDP socket that `local`, an address of this node, belongs to. Sockets may share a port, and which of them sent
/// is not known: if they are not all of one user and cgroup, nobody's is it. Errors: not_found, io.
[[nodiscard]] Result<SocketOwner> datagram_owner(const SocketAddress& local);

}  // namespace epif::net
