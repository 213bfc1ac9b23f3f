#pragma once
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "leak/verdict.h"

/// Tries every way out of the network namespace of the calling thread.
namespace epif::leak {

struct NodeWish {
  std::vector<CaptureTarget> targets;    ///< empty: what the redirectors' rules and lists protect
  std::vector<IpAddress> controls;       ///< at most one of each family; absent: a proxy's address of the rules
  std::string state_dir = "/run/epif";   ///< the redirectors'
};

/// Called with each finding as soon as it is known.
using OnFinding = std::function<void(const Finding&)>;

/// One finding a way and family, and one for the other traffic of the node meanwhile. Sends at most a few hundred probes; those
/// that a redirector captures go through its proxy like any connection, with 16 random bytes. Errors: permission (no root),
/// not_found (nothing is protected here), unsupported, io. Ends early, with what it has, when asked to stop.
[[nodiscard]] Result<std::vector<Finding>> try_ways_out(const NodeWish& wish, const OnFinding& found, const std::stop_token& stop);

/// An address of `block` to try that is none of `taken`: its first host.
[[nodiscard]] IpAddress address_in(const Cidr& block, const std::vector<IpAddress>& taken);

}  // namespace epif::leak
