#pragma once
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/ip.h"

/// The kernel's table of tracked TCP connections (nfnetlink_conntrack), in the network namespace of the calling thread.
namespace epif::net {

struct TrackedTcp {
  SocketAddress source;  ///< as the connection was begun
  SocketAddress destination;
  SocketAddress answers;  ///< where the answers come from: differs from `destination` if that was translated
  Bytes identity;         ///< the attributes by which the kernel knows the entry again
  std::uint8_t family = 0;
};

/// Errors: permission, unsupported (no connection tracking in this kernel), io.
[[nodiscard]] Result<std::vector<TrackedTcp>> tracked_tcp();
/// Deletes the entry: what still comes of that connection is nobody's. An entry that is gone already is no error.
[[nodiscard]] Result<> forget(const TrackedTcp& connection);

}  // namespace epif::net
