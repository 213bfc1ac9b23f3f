#include "agent/table.h"

#include <fmt/format.h>

#include <algorithm>

#include "bridge/instance.h"

namespace epif::agent {

InstanceViews as_wished(const Assignment& assignment, InstanceViews views) {
  for (auto& [name, view] : views) {
    if (view.state != "running") continue;
    const auto wished = std::ranges::find(assignment.instances, name, &WishedInstance::name);
    if (wished == assignment.instances.end() || view.runs != *wished) {
      view = {"starting", "what runs under its name has another image or trust and is being replaced", {}, 0};
    } else if (!bridge::process_alive(view.pid)) {
      view = {"starting", "it ended and is being replaced", {}, 0};
    }
  }
  return views;
}

std::vector<KnownInstance> known_instances(const InstanceViews& views) {
  std::vector<KnownInstance> out;
  for (const auto& [name, view] : views) {
    if (view.state == "running" && view.runs) out.push_back({*view.runs, view.pid});
  }
  return out;
}

RouteTable complete(const Assignment& assignment, const InstanceViews& instances, std::uint64_t generation) {
  auto table = assignment.routes;
  table.node = assignment.node;
  table.generation = generation;
  for (auto& route : table.routes) {
    for (auto& link : route.chain) {
      const auto found = instances.find(link.instance);
      const auto wished = std::ranges::find(assignment.instances, link.instance, &WishedInstance::name);
      const bool runs = found != instances.end() && found->second.state == "running";
      const bool as_wished = runs && wished != assignment.instances.end() && found->second.runs == *wished &&
                             link.trusted == wished->trusted;
      if (as_wished) {
        link.socket = found->second.socket;
        link.peer_pid = found->second.pid;
      } else if (route.blocked.empty()) {
        const bool known = found != instances.end() && !runs;
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

InstanceViews running_instances(const std::vector<KnownInstance>& known, const RouteTable& written) {
  InstanceViews out;
  for (const auto& route : written.routes) {
    for (const auto& link : route.chain) {
      const auto one = std::ranges::find_if(known, [&](const KnownInstance& instance) {
        return instance.runs.name == link.instance && instance.pid == link.peer_pid;
      });
      if (one != known.end() && bridge::process_alive(link.peer_pid)) {
        out[link.instance] = {"running", {}, link.socket, link.peer_pid, one->runs};
      }
    }
  }
  return out;
}

}  // namespace epif::agent
