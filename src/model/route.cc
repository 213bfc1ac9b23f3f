#include "model/route.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/limits.h"
#include "model/fields.h"
#include "model/quantity.h"

namespace epif {
namespace {

constexpr std::size_t id_max_bytes = 64;
constexpr auto any_u32 = std::numeric_limits<std::uint32_t>::max();
constexpr auto any_u64 = std::numeric_limits<std::uint64_t>::max();

std::string read_id(const Field& field) {
  auto id = field.text();
  const auto allowed = [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '.' ||
           byte == '_' || byte == '/' || byte == '-';
  };
  if (field && (id.empty() || id.size() > id_max_bytes || !std::ranges::all_of(id, allowed))) {
    field.refuse(fmt::format("'{}' is not a flow id", id), "1 to 64 letters, digits, '.', '_', '/' and '-'");
  }
  return id;
}

CaptureTarget read_target(const Field& field) {
  return field.parsed(CaptureTarget::parse);
}

std::uint32_t read_u32(const Field& field) {
  return static_cast<std::uint32_t>(field.number(0, any_u32));
}

std::vector<std::string> read_peers(const Field& field) {
  std::vector<std::string> peers;
  for (const auto& item : field.list()) {
    peers.push_back(item.text());
    if (peers.back().empty()) item.refuse("an identity is empty", "write DOMAIN/NODE");
  }
  return peers;
}

ChainLink read_link(const Field& field) {
  Fields fields(field);
  ChainLink link;
  const auto function = fields.required("function");
  link.function = function.text();
  if (function && link.function.empty()) function.refuse("the name is empty");
  link.instance = fields.get("instance").text();
  const auto socket = fields.required("socket");
  link.socket = socket.text();
  if (socket && !link.socket.starts_with('/')) socket.refuse("a socket's path begins with '/'");
  link.peer_pid = static_cast<std::int64_t>(fields.get("peer_pid").number(0, std::numeric_limits<std::int32_t>::max()));
  link.trusted = fields.get("trusted").boolean();
  link.key_pair = fields.get("key_pair").text();
  for (const auto& [key, value] : fields.get("parameters").map()) link.parameters[key] = value.text();
  fields.done();
  return link;
}

std::vector<ChainLink> read_chain(const Field& field) {
  std::vector<ChainLink> chain;
  const auto items = field.list();
  if (items.size() > limits::chain_max_functions) {
    field.refuse(
        fmt::format("the chain has {} functions, at most {} are accepted", items.size(), limits::chain_max_functions));
    return chain;
  }
  for (const auto& item : items) chain.push_back(read_link(item));
  return chain;
}

NextHop read_next(const Field& field) {
  Fields fields(field);
  NextHop next;
  next.proxy = fields.required("proxy").parsed(SocketAddress::parse);
  next.identity = fields.get("identity").text();
  next.public_key = fields.get("public_key").text();
  next.dialect = fields.get("dialect").choice<Dialect>({{"draft", Dialect::draft}, {"socksx", Dialect::socksx}}, Dialect::draft);
  fields.done();
  return next;
}

NginxPort read_nginx(const Field& field) {
  Fields fields(field);
  NginxPort port;
  const auto listen = fields.required("listen");
  port.listen = listen.parsed(SocketAddress::parse);
  if (listen && port.listen.port == 0) listen.refuse("port 0 cannot be listened on");
  for (const auto& item : fields.required("clients").list()) {
    port.clients.push_back(item.parsed(IpAddress::parse));
    if (port.clients.back().is_v6() != port.listen.ip.is_v6()) {
      item.refuse("the client's address and 'listen' are of different families", "IPv4 goes to IPv4, IPv6 to IPv6");
    }
  }
  port.http = fields.get("carries").choice<bool>({{"bytes", false}, {"http", true}}, false);
  fields.done();
  return port;
}

bool is_one_server(const CaptureTarget& target) {
  return target.block.prefix == (target.block.address.is_v6() ? 128 : 32) && target.ports.first == target.ports.last;
}

/// NGINX knows a client by its address and the server by the port that it listens on, and nothing else.
void check_nginx(const Field& field, const Route& route) {
  const auto& block = route.destination.block;
  if (!is_one_server(route.destination)) {
    field.refuse("NGINX carries to one address and one port", "give such a destination");
  } else if (block.address.is_v6() != route.nginx->listen.ip.is_v6()) {
    field.refuse("the destination and 'listen' are of different families", "IPv4 goes to IPv4, IPv6 to IPv6");
  } else if (!route.chain.empty() || route.next || route.protocol == Protocol::udp || route.bind || !route.selector.empty()) {
    field.refuse("NGINX carries TCP of a whole node, without chain, next, bind or selector", "let SOCKS carry this flow");
  }
}

RouteLimits read_limits(const Field& field) {
  RouteLimits made;
  if (!field) return made;
  Fields fields(field);
  made.reverse_bytes = fields.get("reverse_bytes").number(0, any_u64);
  made.connections = read_u32(fields.get("connections"));
  made.idle_s = read_u32(fields.get("idle_s"));
  fields.done();
  return made;
}

std::vector<std::string> read_words(const Field& field) {
  std::vector<std::string> words;
  for (const auto& item : field.list()) {
    words.push_back(item.text());
    if (words.back().empty()) item.refuse("an entry is empty");
  }
  return words;
}

RouteSelector read_selector(const Field& field) {
  RouteSelector selector;
  if (!field) return selector;
  Fields fields(field);
  selector.users = read_words(fields.get("users"));
  selector.cgroups = read_words(fields.get("cgroups"));
  fields.done();
  return selector;
}

Route read_route(const Field& field) {
  Fields fields(field);
  Route route;
  route.id = read_id(fields.required("id"));
  route.flow = fields.get("flow").text();
  route.peers = read_peers(fields.get("peers"));
  for (const auto& [peer, key] : fields.get("peer_keys").map()) route.peer_keys[peer] = key.text();
  for (const auto& item : fields.get("sources").list()) route.sources.push_back(item.parsed(Cidr::parse));
  route.destination = read_target(fields.required("destination"));
  route.protocol = fields.get("protocol").choice<Protocol>({{"tcp", Protocol::tcp}, {"udp", Protocol::udp}}, Protocol::tcp);
  route.selector = read_selector(fields.get("selector"));
  route.name = fields.get("name").text();
  route.data = fields.get("data").choice<DataDirection>(
      {{"push", DataDirection::push}, {"pull", DataDirection::pull}, {"both", DataDirection::both}}, DataDirection::both);
  const auto chain = fields.get("chain");
  route.chain = read_chain(chain);
  if (route.protocol == Protocol::udp && !route.chain.empty()) {
    chain.refuse("a udp route has a chain", "bridging functions carry byte streams only");
  }
  if (const auto next = fields.get("next")) {
    route.next = read_next(next);
    if (route.protocol == Protocol::udp && route.next->dialect == Dialect::socksx) {
      next.refuse("a udp route leads to a proxy of the socksx dialect", "that knows connections only");
    }
  }
  route.purpose = fields.get("purpose").text();
  route.policy = fields.get("policy").text();
  route.policy_version = fields.get("policy_version").text();
  route.limits = read_limits(fields.get("limits"));
  if (const auto expires = fields.get("expires")) route.expires = expires.parsed(parse_time);
  route.replay_safe = fields.get("replay_safe").boolean();
  const auto bind = fields.get("bind");
  route.bind = bind.boolean();
  if (route.bind && route.protocol == Protocol::udp) bind.refuse("a route with bind is udp", "BIND makes a connection of tcp");
  if (route.bind && route.next && route.next->dialect == Dialect::socksx) {
    bind.refuse("a route with bind leads to a proxy of the socksx dialect", "that knows CONNECT only");
  }
  if (const auto nginx = fields.get("nginx")) {
    route.nginx = read_nginx(nginx);
    check_nginx(nginx, route);
  }
  const auto preconnect = fields.get("preconnect");
  route.preconnect = static_cast<std::uint32_t>(preconnect.number(0, limits::preconnect_max));
  if (route.preconnect > 0 && !is_one_server(route.destination)) {
    preconnect.refuse("preconnect wants a destination of one address and one port", "else each of them would keep connections");
  }
  route.blocked = fields.get("blocked").text();
  fields.done();
  return route;
}

Refusal read_refusal(const Field& field) {
  Fields fields(field);
  Refusal refusal;
  refusal.destination = read_target(fields.required("destination"));
  refusal.flow = fields.get("flow").text();
  refusal.reason = fields.required("reason").text();
  fields.done();
  return refusal;
}

}  // namespace

Result<RouteTable> parse_routes(std::string_view text, std::string_view file) {
  const auto tree = parse_json(text, file, limits::routes_file_max_bytes);
  if (!tree) return fail(tree.error());
  Reading reading{std::string(file), false};
  Fields fields(Field{reading, &*tree, ""});
  RouteTable table;
  table.node = fields.get("node").text();
  table.generation = fields.get("generation").number(0, any_u64);
  std::set<std::string> ids;
  for (const auto& item : fields.required("routes").list()) {
    table.routes.push_back(read_route(item));
    const auto& id = table.routes.back().id;
    if (!ids.insert(id).second) item.refuse(fmt::format("id '{}' is taken by a route above", id), "ids are unique");
    if (reading.fault) return fail(std::move(*reading.fault));
  }
  for (const auto& item : fields.get("refusals").list()) table.refusals.push_back(read_refusal(item));
  fields.done();
  if (reading.fault) return fail(std::move(*reading.fault));
  return table;
}

}  // namespace epif
