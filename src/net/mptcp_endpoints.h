#pragma once
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/ip.h"

/// What the kernel's MPTCP path manager of this thread's network namespace knows (ip-mptcp(8)), over generic netlink
/// "mptcp_pm".
namespace epif::net {

/// One address of this node that MPTCP connections may use besides the one they began with.
struct MptcpEndpoint {
  IpAddress address;
  unsigned device = 0;   ///< its connections leave there; 0: where the routes say
  std::uint8_t id = 0;   ///< 1 to 255; 0 to add it: the kernel's choice
  bool connects = false; ///< this end opens further subflows from it, to every address of the peer (subflow, fullmesh)
  bool announced = false;///< the peer is told of it (signal)
};

struct MptcpLimits {
  std::uint32_t accepted_addresses = 0;  ///< addresses of the peer that this end connects to
  std::uint32_t subflows = 0;            ///< beyond the first
};

/// Errors of all: unsupported (a kernel without MPTCP), permission, io.
[[nodiscard]] Result<std::vector<MptcpEndpoint>> mptcp_endpoints();
[[nodiscard]] Result<> add_mptcp_endpoint(const MptcpEndpoint& endpoint);
/// Connections close the subflows of this address at once. There or not.
[[nodiscard]] Result<> remove_mptcp_endpoint(std::uint8_t id);
[[nodiscard]] Result<MptcpLimits> mptcp_limits();
[[nodiscard]] Result<> set_mptcp_limits(const MptcpLimits& limits);

/// True if this namespace can make MPTCP sockets (compiled in, net.mptcp.enabled).
[[nodiscard]] bool has_mptcp();

}  // namespace epif::net
