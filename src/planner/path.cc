#include "planner/path.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace epif::planner {

Path make_path(const Catalog& catalog, const Landscape& landscape, const Landscape::Site& client,
               const Landscape::Site& server, const std::vector<Step>& steps, bool from_client) {
  Path path;
  const auto proxy_at = [&](Side side) {
    const bool at_client = (side == Side::source) == from_client;
    const auto proxy = at_client ? client.proxy : server.proxy;
    assert(proxy != Landscape::nowhere);
    return proxy;
  };
  bool server_holds = false;
  for (const auto& step : steps) {
    const auto proxy = proxy_at(step.side);
    server_holds = server_holds || proxy != client.proxy;
    path.chain.push_back({catalog.functions[step.function]->metadata.name, landscape.proxy_name(proxy)});
  }
  if (!from_client) std::ranges::reverse(path.chain);
  const bool client_has = client.proxy != Landscape::nowhere;
  if (client_has) path.proxies.push_back(landscape.proxy_name(client.proxy));
  if (server_holds || (!client_has && server.proxy != Landscape::nowhere)) {
    path.proxies.push_back(landscape.proxy_name(server.proxy));
  }
  return path;
}

Method choose_method(const Flow& flow, const Path& path) {
  if (path.proxies.empty()) return Method::direct;
  if (flow.protocol == Protocol::udp) return flow.method == Method::socks5 ? Method::socks5 : Method::socks6;
  switch (flow.method) {
    case Method::socks5: return Method::socks5;
    case Method::nginx: return path.chain.empty() ? Method::nginx : Method::socks6;
    case Method::automatic:
      return path.chain.empty() && flow.profile == Profile::time_critical ? Method::nginx : Method::socks6;
    case Method::socks6:
    case Method::direct: break;
  }
  return Method::socks6;
}

std::string method_reason(const Flow& flow, const Path& path) {
  const auto method = choose_method(flow, path);
  if (method == Method::direct) return "Direct: neither end has a proxy.";
  if (flow.method == Method::nginx && flow.protocol == Protocol::udp)
    return "socks6, although nginx is asked for: nginx is used for TCP only.";
  if (flow.method == Method::nginx && method != Method::nginx)
    return "socks6, although nginx is asked for: nginx carries no chain.";
  if (flow.method != Method::automatic) return fmt::format("{}, as the flow asks.", name(method));
  if (method == Method::nginx) return "nginx: time-critical and no chain to carry.";
  return path.chain.empty() ? "socks6: the default." : "socks6: it carries a chain for each connection.";
}

Latency predict(const Landscape& landscape, const Landscape::Site& client, const Landscape::Site& server, const Path& path,
                Method method) {
  const auto ms = [&](const std::string& left, const std::string& right) {
    return static_cast<double>(landscape.rtt(left, right).count()) / 1000.0;
  };
  // A proxy that says nothing about a node reaches it as far away as by the node's own proxy.
  const auto to_node = [&](const std::string& proxy, const Landscape::Site& site) {
    const auto node = site.node->metadata.full_name();
    const auto straight = ms(proxy, node);
    if (straight > 0 || site.proxy == Landscape::nowhere) return straight;
    const auto& own = landscape.proxy_name(site.proxy);
    return ms(proxy, own) + ms(own, node);
  };
  if (path.proxies.empty()) {
    const auto client_server = ms(client.node->metadata.full_name(), server.node->metadata.full_name());
    return {2 * client_server, 2 * client_server};
  }
  const auto client_proxy = to_node(path.proxies.front(), client);
  double proxy_server = to_node(path.proxies.back(), server);
  for (std::size_t at = 1; at < path.proxies.size(); ++at) proxy_server += ms(path.proxies[at - 1], path.proxies[at]);
  const double client_trips = method == Method::nginx ? 2 : method == Method::socks5 ? 4 : 3;
  return {client_trips * client_proxy + 2 * proxy_server, client_proxy + proxy_server};
}

}  // namespace epif::planner
