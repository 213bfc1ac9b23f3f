#include "agent/table.h"

namespace epif::agent {

RouteTable complete(const Assignment& assignment, const InstanceViews& instances, std::uint64_t generation) {
  auto table = assignment.routes;
  table.node = assignment.node;
  table.generation = generation;
  for (auto& route : table.routes) {
    for (auto& link : route.chain) {
      const auto found = instances.find(link.instance);
      if (found != instances.end() && found->second.state == "running") {
        link.socket = found->second.socket;
        link.peer_pid = found->second.pid;
      } else if (route.blocked.empty()) {
        const bool known = found != instances.end();
        route.blocked = fmt::format("bridging function {} is {}{}", link.function, known ? found->second.state : "starting",
                                    known && !found->second.reason.empty() ? ": " + found->second.reason : "");
      }
    }
  }
  return table;
}

}  // namespace epif::agent
