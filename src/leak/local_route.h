#pragma once
#include <optional>
#include <vector>

#include "base/ip.h"
#include "net/links.h"

namespace epif::leak {

/// How the node would reach an address.
struct LocalRoute {
  IpAddress from;
  net::Link device;
};
/// Asks the kernel's routing table, sends nothing. Nothing if there is no way, or only loopback.
[[nodiscard]] std::optional<LocalRoute> route_to(const IpAddress& address);
/// Addresses of this namespace's devices, loopback included.
[[nodiscard]] std::vector<IpAddress> local_addresses();

}  // namespace epif::leak
