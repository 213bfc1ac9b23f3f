#include "orchestrator/nginx_ports.h"

#include "base/limits.h"

namespace epif::orchestrator {
namespace {

constexpr std::uint32_t port_count = limits::nginx_port_last - limits::nginx_port_first + 1u;

std::uint32_t spread(const std::string& id) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char byte : id) hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619u;
  return hash % port_count;
}

}  // namespace

void note_nginx_ports(const Assignment& assignment, NginxPorts& ports) {
  if (assignment.role != Role::proxy) return;
  for (const auto& route : assignment.routes.routes) {
    if (route.nginx) ports[assignment.node][route.id] = route.nginx->listen.port;
  }
}

PortBook::PortBook(const NginxPorts& known) : given_(known) {
  for (const auto& [proxy, flows] : given_) {
    for (const auto& [flow, port] : flows) taken_[proxy].insert(port);
  }
}

std::optional<std::uint16_t> PortBook::take(const std::string& proxy, const std::string& flow) {
  auto& given = given_[proxy];
  if (const auto found = given.find(flow); found != given.end()) return found->second;
  auto& taken = taken_[proxy];
  if (taken.size() >= port_count) return {};
  for (auto at = spread(flow);; at = (at + 1) % port_count) {
    const auto port = static_cast<std::uint16_t>(limits::nginx_port_first + at);
    if (!taken.insert(port).second) continue;
    given[flow] = port;
    return port;
  }
}

}  // namespace epif::orchestrator
