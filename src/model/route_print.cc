#include <boost/json.hpp>
#include <chrono>
#include <string_view>
#include <utility>

#include "model/application.h"
#include "model/pretty_json.h"
#include "model/quantity.h"
#include "model/route.h"

// The inverse of parse_routes: fields in the order of docs/routes.schema.json, defaults left out.
namespace epif {
namespace {

namespace json = boost::json;

void put(json::object& object, std::string_view field, const std::string& text) {
  if (!text.empty()) object[field] = text;
}
void put(json::object& object, std::string_view field, std::uint64_t number) {
  if (number != 0) object[field] = number;
}
void put_true(json::object& object, std::string_view field, bool value) {
  if (value) object[field] = true;
}

json::object link_object(const ChainLink& link) {
  json::object made{{"function", link.function}};
  put(made, "instance", link.instance);
  made["socket"] = link.socket;
  put(made, "peer_pid", static_cast<std::uint64_t>(link.peer_pid));
  put_true(made, "trusted", link.trusted);
  put(made, "key_pair", link.key_pair);
  if (!link.parameters.empty()) {
    json::object parameters;
    for (const auto& [key, value] : link.parameters) parameters[key] = value;
    made["parameters"] = std::move(parameters);
  }
  return made;
}

json::object next_object(const NextHop& next) {
  json::object made{{"proxy", next.proxy.text()}};
  put(made, "identity", next.identity);
  put(made, "public_key", next.public_key);
  if (next.dialect == Dialect::socksx) made["dialect"] = "socksx";
  return made;
}

json::object nginx_object(const NginxPort& nginx) {
  json::object made{{"listen", nginx.listen.text()}};
  json::array clients;
  for (const auto& client : nginx.clients) clients.emplace_back(client.text());
  made["clients"] = std::move(clients);
  if (nginx.http) made["carries"] = "http";
  return made;
}

json::object limits_object(const RouteLimits& limits) {
  json::object made;
  put(made, "reverse_bytes", limits.reverse_bytes);
  put(made, "connections", std::uint64_t{limits.connections});
  put(made, "idle_s", std::uint64_t{limits.idle_s});
  return made;
}

json::object selector_object(const RouteSelector& selector) {
  json::object made;
  if (!selector.users.empty()) made["users"] = json::array(selector.users.begin(), selector.users.end());
  if (!selector.cgroups.empty()) made["cgroups"] = json::array(selector.cgroups.begin(), selector.cgroups.end());
  return made;
}

json::object route_object(const Route& route) {
  json::object made{{"id", route.id}};
  put(made, "flow", route.flow);
  if (!route.peers.empty()) made["peers"] = json::array(route.peers.begin(), route.peers.end());
  if (!route.peer_keys.empty()) {
    json::object keys;
    for (const auto& [peer, key] : route.peer_keys) keys[peer] = key;
    made["peer_keys"] = std::move(keys);
  }
  if (!route.sources.empty()) {
    json::array sources;
    for (const auto& source : route.sources) sources.emplace_back(source.text());
    made["sources"] = std::move(sources);
  }
  made["destination"] = route.destination.text();
  if (route.protocol != Protocol::tcp) made["protocol"] = name(route.protocol);
  if (!route.selector.empty()) made["selector"] = selector_object(route.selector);
  put(made, "name", route.name);
  if (route.data != DataDirection::both) made["data"] = name(route.data);
  if (!route.chain.empty()) {
    json::array chain;
    for (const auto& link : route.chain) chain.push_back(link_object(link));
    made["chain"] = std::move(chain);
  }
  if (route.next) made["next"] = next_object(*route.next);
  if (route.nginx) made["nginx"] = nginx_object(*route.nginx);
  put(made, "purpose", route.purpose);
  put(made, "policy", route.policy);
  put(made, "policy_version", route.policy_version);
  if (route.limits != RouteLimits{}) made["limits"] = limits_object(route.limits);
  if (route.expires != std::chrono::sys_seconds{}) made["expires"] = print_time(route.expires);
  put_true(made, "replay_safe", route.replay_safe);
  put_true(made, "bind", route.bind);
  put(made, "preconnect", std::uint64_t{route.preconnect});
  put(made, "blocked", route.blocked);
  return made;
}

}  // namespace

std::string print_routes(const RouteTable& table) {
  json::object root;
  put(root, "node", table.node);
  put(root, "generation", table.generation);
  json::array routes;
  for (const auto& route : table.routes) routes.push_back(route_object(route));
  root["routes"] = std::move(routes);
  if (!table.refusals.empty()) {
    json::array refusals;
    for (const auto& refusal : table.refusals) {
      json::object made{{"destination", refusal.destination.text()}};
      put(made, "flow", refusal.flow);
      made["reason"] = refusal.reason;
      refusals.push_back(std::move(made));
    }
    root["refusals"] = std::move(refusals);
  }
  return print_pretty(root);
}

}  // namespace epif
