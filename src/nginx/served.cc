#include "nginx/served.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"

namespace epif::nginx {
namespace {

std::string client_of(const Route& route) {
  return route.peers.empty() ? route.nginx->clients.front().text() : route.peers.front();
}

bool same_permit(const Route& before, const Route& now) {
  auto renewed = before;
  renewed.expires = now.expires;
  renewed.policy = now.policy;
  renewed.policy_version = now.policy_version;
  return renewed == now;
}

}  // namespace

bool is_served(const Route& route, std::chrono::sys_seconds now) {
  return route.nginx && !route.nginx->clients.empty() && route.blocked.empty() &&
         (route.expires == std::chrono::sys_seconds{} || route.expires > now);
}

Served served(const RouteTable& table, std::chrono::sys_seconds now) {
  Served out;
  for (const auto& route : table.routes) {
    if (is_served(route, now)) out[client_of(route)].push_back(route);
  }
  return out;
}

std::vector<Route> withdrawn(const std::vector<Route>& before, const std::vector<Route>& now) {
  std::vector<Route> out;
  std::ranges::copy_if(before, std::back_inserter(out), [&](const Route& route) {
    return std::ranges::none_of(now, [&](const Route& other) { return same_permit(route, other); });
  });
  return out;
}

std::chrono::sys_seconds next_end(const RouteTable& table, std::chrono::sys_seconds now) {
  std::chrono::sys_seconds next{};
  for (const auto& route : table.routes) {
    if (is_served(route, now) && route.expires > now && (next == std::chrono::sys_seconds{} || route.expires < next))
      next = route.expires;
  }
  return next;
}

std::string folder_name(std::string_view client) {
  std::string out;
  for (const char byte : client) {
    const bool plain =
        (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '-';
    if (plain)
      out += byte;
    else if (byte == '/')
      out += '_';
    else
      out += fmt::format("%{:02x}", static_cast<unsigned char>(byte));
  }
  return out;
}

SocketAddress server_of(const Route& route) {
  return {route.destination.block.address, route.destination.ports.first};
}

}  // namespace epif::nginx
