#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/assignment.h"

namespace epif::agent {

/// One bridging function as its keeper knows it.
struct InstanceView {
  std::string state;   ///< "running", "starting", "failed"
  std::string reason;  ///< why it does not run
  std::string socket;
  std::int64_t pid = 0;
  std::optional<WishedInstance> runs{};  ///< what it was started as; that need not be what is wished now
  friend bool operator==(const InstanceView&, const InstanceView&) = default;
};
using InstanceViews = std::map<std::string, InstanceView>;  ///< by instance name

/// A process that runs one wished function, as the agent saves it beside the assignment: the assignment may be newer.
struct KnownInstance {
  WishedInstance runs;
  std::int64_t pid = 0;
  friend bool operator==(const KnownInstance&, const KnownInstance&) = default;
};

/// The views with what lives no more, or runs as something else than is wished (another image, another trust), as "starting".
[[nodiscard]] InstanceViews as_wished(const Assignment& assignment, InstanceViews views);
/// What runs, to be saved.
[[nodiscard]] std::vector<KnownInstance> known_instances(const InstanceViews& views);

/// The table that the data plane reads: the assignment's routes with the sockets and processes of the instances that run.
/// A route with an instance that does not run as it is wished is blocked, with the reason; nothing may pass around a function,
/// or through one of another image or trust than the route says. Pure.
[[nodiscard]] RouteTable complete(const Assignment& assignment, const InstanceViews& instances, std::uint64_t generation);

/// Whether `after` takes anything away that `before` allows: a route is gone, blocked, ends sooner or says something else.
/// Where an instance's socket lies does not count, nor do refusals, which only explain. Pure.
[[nodiscard]] bool takes_away(const RouteTable& before, const RouteTable& after);

/// The instances that an earlier agent left running, as its table names them, as far as their processes live and are among the
/// `known`: adopted as what they are, so that a restart of the agent touches no flow and takes none for another.
[[nodiscard]] InstanceViews running_instances(const std::vector<KnownInstance>& known, const RouteTable& written);

}  // namespace epif::agent
