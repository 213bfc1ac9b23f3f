#include "agent/table.h"

#include <algorithm>

#include "bridge/instance.h"

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

InstanceViews running_instances(const Assignment& assignment, const RouteTable& written) {
  InstanceViews out;
  for (const auto& route : written.routes) {
    for (const auto& link : route.chain) {
      const bool wished = std::ranges::find(assignment.instances, link.instance, &WishedInstance::name) != assignment.instances.end();
      if (wished && link.peer_pid > 0 && bridge::process_alive(link.peer_pid)) {
        out[link.instance] = {"running", {}, link.socket, link.peer_pid};
      }
    }
  }
  return out;
}

}  // namespace epif::agent
