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

namespace {

/// What a route allows, apart from how long.
Route permission_of(Route route) {
  route.expires = {};
  for (auto& link : route.chain) {
    link.socket.clear();
    link.peer_pid = 0;
  }
  return route;
}

bool ends_sooner(const Route& after, const Route& before) {
  constexpr std::chrono::sys_seconds never{};
  return after.expires != never && (before.expires == never || after.expires < before.expires);
}

}  // namespace

bool takes_away(const RouteTable& before, const RouteTable& after) {
  std::map<std::string_view, const Route*> left;
  for (const auto& route : after.routes) left.emplace(route.id, &route);
  return std::ranges::any_of(before.routes, [&](const Route& route) {
    if (!route.blocked.empty()) return false;
    const auto found = left.find(route.id);
    return found == left.end() || ends_sooner(*found->second, route) || permission_of(*found->second) != permission_of(route);
  });
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
