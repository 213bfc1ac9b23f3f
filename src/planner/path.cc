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

Carrier choose_method(const Flow& flow, const Path& path, const std::string& against_nginx) {
  if (path.proxies.empty()) return {Method::direct, "Direct: neither end has a proxy."};
  switch (flow.method) {
    case Method::socks5:
    case Method::socks6: return {flow.method, fmt::format("{}, as the flow asks.", name(flow.method))};
    case Method::nginx:
      if (against_nginx.empty()) return {Method::nginx, "nginx, as the flow asks."};
      return {Method::socks6, fmt::format("socks6, although nginx is asked for: {}.", against_nginx)};
    case Method::automatic:
    case Method::direct: break;
  }
  if (!path.chain.empty()) return {Method::socks6, "socks6: it carries a chain for each connection."};
  const bool urgent = flow.profile == Profile::time_critical;
  if (!urgent && flow.profile != Profile::http) return {Method::socks6, "socks6: the default."};
  if (!against_nginx.empty()) return {Method::socks6, fmt::format("socks6: {}.", against_nginx)};
  return {Method::nginx, fmt::format("nginx: {} and no chain to carry.", urgent ? "time-critical" : "HTTP")};
}

std::string against_nginx(const Flow& flow, const Path& path, const Node& client, const Node& server, const ProxyNode* proxy,
                          const AttributeSet& required) {
  if (flow.protocol == Protocol::udp) return "nginx is used for TCP only";
  if (!path.chain.empty()) return "nginx carries no chain";
  if (!flow.selector.empty()) return "nginx knows nodes only, and this flow is of one user or cgroup";
  if (!required.empty()) return fmt::format("nginx carries in clear, and a policy asks for {}", fmt::join(required, ", "));
  for (const bool six : {false, true}) {
    const auto of_family = [six](const IpAddress& address) { return address.is_v6() == six; };
    const auto lacks = [&](const std::vector<IpAddress>& all) { return !all.empty() && std::ranges::none_of(all, of_family); };
    if (std::ranges::none_of(server.addresses, of_family)) continue;
    const auto* family = six ? "IPv6" : "IPv4";
    const auto words = [&](const Metadata& who) {
      return fmt::format("nginx needs the same family of addresses all the way, and {} has no {} address", who.full_name(), family);
    };
    if (lacks(client.addresses)) return words(client.metadata);
    if (proxy != nullptr && lacks(proxy->addresses)) return words(proxy->metadata);
  }
  return {};
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
