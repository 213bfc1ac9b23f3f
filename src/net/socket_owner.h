#pragma once
#include <cstdint>
#include <string>

#include "base/ip.h"

/// Whose a socket of this node is.
namespace epif::net {

struct SocketOwner {
  std::uint32_t user = 0;  ///< who made it
  std::string cgroup;      ///< of its maker at that time, below the cgroup2 mount, without a leading '/'; "" is the root
};

/// Asks the kernel (sock_diag) for the socket of this network namespace at `local` that speaks to `remote`. `protocol`:
/// IPPROTO_TCP or IPPROTO_UDP. Errors: not_found (none such: another host's, or its program closed it; or its cgroup is gone), io.
[[nodiscard]] Result<SocketOwner> socket_owner(int protocol, const SocketAddress& local, const SocketAddress& remote);

}  // namespace epif::net
