#pragma once
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "model/route.h"

/// What a proxy node's NGINX serves, by client node: each client has an NGINX of its own, so that one client's change never
/// touches another's flows, and every socket of an NGINX is known to be that client's. Pure.
namespace epif::nginx {

/// Client -> its routes, in the table's order. The client is the peer of the route; a route without peers (standalone use)
/// is of the client with its first address.
using Served = std::map<std::string, std::vector<Route>>;

/// A route of method nginx that is neither blocked nor expired and lets somebody in.
[[nodiscard]] bool is_served(const Route& route, std::chrono::sys_seconds now);
/// All of these.
[[nodiscard]] Served served(const RouteTable& table, std::chrono::sys_seconds now);

/// Those of `before` that `now` does not permit any more: gone, or other than before in more than what renews a permit
/// (expiry, policy and its version).
[[nodiscard]] std::vector<Route> withdrawn(const std::vector<Route>& before, const std::vector<Route>& now);

/// The moment after `now` at which the next route of method nginx expires; zero: none does.
[[nodiscard]] std::chrono::sys_seconds next_end(const RouteTable& table, std::chrono::sys_seconds now);

/// A client's name as the name of a folder: letters, digits and '-' stay, '/' becomes '_', the rest %xx.
[[nodiscard]] std::string folder_name(std::string_view client);

/// The one server address and port of the route.
[[nodiscard]] SocketAddress server_of(const Route& route);

}  // namespace epif::nginx
