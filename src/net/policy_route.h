#pragma once
#include <cstdint>

#include "base/error.h"

/// Routing by mark, in the network namespace of the calling thread, over rtnetlink.
namespace epif::net {

/// Packets with `mark` are delivered to this node whatever their destination: a rule and, in `table`, a local default route on
/// loopback, IPv4 and IPv6. Nothing changes if they stand. `rule_priority`: before 32766 (main). Without IPv6, or with
/// it switched off, IPv4 alone.
struct LocalDelivery {
  std::uint32_t mark = 0;
  std::uint32_t table = 0;
  std::uint32_t rule_priority = 0;
};
/// Errors: permission, unsupported, io.
[[nodiscard]] Result<> install_local_delivery(const LocalDelivery& wish);
/// Removes both; there or not.
[[nodiscard]] Result<> remove_local_delivery(const LocalDelivery& wish);

}  // namespace epif::net
