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

/// One finding a way and family, one for the other traffic of the node meanwhile, and one for what was left out, if anything was. Sends at most a few hundred probes; those
/// that a redirector captures go through its proxy like any connection, with 16 random bytes. Errors: permission (no root),
/// not_found (nothing is protected here), unsupported, io. Ends early, with what it has, when asked to stop.
[[nodiscard]] Result<std::vector<Finding>> try_ways_out(const NodeWish& wish, const OnFinding& found, const std::stop_token& stop);

/// The line that says how many were left out, if there are more than one run takes (limits::leak_targets): nothing is proven of
/// them.
[[nodiscard]] std::optional<Finding> untried_of(std::size_t targets, std::size_t names);

/// An address of `block` to try that is none of `taken`: its first host.
[[nodiscard]] IpAddress address_in(const Cidr& block, const std::vector<IpAddress>& taken);

}  // namespace epif::leak
