#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "model/assignment.h"

namespace epif::agent {

/// One bridging function as its keeper knows it.
struct InstanceView {
  std::string state;   ///< "running", "starting", "failed"
  std::string reason;  ///< why it does not run
  std::string socket;
  std::int64_t pid = 0;
  friend bool operator==(const InstanceView&, const InstanceView&) = default;
};
using InstanceViews = std::map<std::string, InstanceView>;  ///< by instance name

/// The table that the data plane reads: the assignment's routes with the sockets and processes of the instances that run.
/// A route with an instance that does not run is blocked, with the reason; nothing may pass around a function. Pure.
[[nodiscard]] RouteTable complete(const Assignment& assignment, const InstanceViews& instances, std::uint64_t generation);

/// Whether `after` takes anything away that `before` allows: a route is gone, blocked, ends sooner or says something else.
/// Where an instance's socket lies does not count, nor do refusals, which only explain. Pure.
[[nodiscard]] bool takes_away(const RouteTable& before, const RouteTable& after);

/// The instances that an earlier agent left running, as its table names them, as far as their processes live: adopted, so
/// that a restart of the agent touches no flow.
[[nodiscard]] InstanceViews running_instances(const Assignment& assignment, const RouteTable& written);

}  // namespace epif::agent
