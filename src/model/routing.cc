#include "model/routing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace epif {
namespace {

/// Host names compare without case and without the root's dot (RFC 4343).
std::string plain_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string plain(name);
  std::ranges::transform(plain, plain.begin(), [](char byte) { return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte; });
  return plain;
}

bool is_single(const Cidr& block) { return block.prefix == (block.address.is_v6() ? 128 : 32); }

bool is_past(const Route& route, std::chrono::sys_seconds now) {
  return route.expires != std::chrono::sys_seconds{} && now >= route.expires;
}

/// The part of a route that a running flow depends on.
Route essence(Route route) {
  route.expires = {};
  route.policy.clear();
  route.policy_version.clear();
  route.purpose.clear();
  return route;
}

std::string for_people(const Route& route) {
  if (route.flow.empty()) return {};
  return "flow " + route.flow + (route.policy.empty() ? "" : ", permitted by policy " + route.policy);
}

const Route* first_fit(const std::vector<const Route*>& candidates, const Asker& asker, const Destination& destination) {
  for (const auto* route : candidates) {
    if (admits(*route, asker) && leads_to(*route, destination)) return route;
  }
  return nullptr;
}

}  // namespace

bool leads_to(const Route& route, const Destination& destination) {
  if (!route.destination.ports.contains(destination.port)) return false;
  if (const auto* name = std::get_if<std::string>(&destination.host)) {
    return !route.name.empty() && plain_name(route.name) == plain_name(*name);
  }
  return route.destination.block.contains(std::get<IpAddress>(destination.host).unmapped());
}

bool admits(const Route& route, const Asker& asker) {
  if (route.protocol != asker.protocol) return false;
  if (route.nginx) return false;  // NGINX's alone: whoever asks here comes another way than was planned
  if (!asker.flow.empty() && asker.flow != route.id) return false;
  if (!asker.identity.empty()) return std::ranges::find(route.peers, asker.identity) != route.peers.end();
  const auto address = asker.address.unmapped();
  return std::ranges::any_of(route.sources, [&](const Cidr& block) { return block.contains(address); });
}

bool grants(const Route& route, std::chrono::sys_seconds now) { return !is_past(route, now) && route.blocked.empty(); }

std::shared_ptr<const Routing> Routing::of(RouteTable table) {
  return std::shared_ptr<const Routing>(new Routing(std::move(table)));
}

Routing::Routing(RouteTable table) : table_(std::move(table)) {
  for (const auto& route : table_.routes) {
    by_id_.emplace(route.id, &route);
    if (!route.name.empty()) by_name_[plain_name(route.name)].push_back(&route);
    if (is_single(route.destination.block)) {
      by_host_[route.destination.block.address].push_back(&route);
    } else {
      wide_.push_back(&route);
    }
  }
}

Result<RoutePtr> Routing::checked(const Route& route, std::chrono::sys_seconds now) const {
  if (is_past(route, now)) return fail(Code::expired, fmt::format("route {} is past its end", route.id), for_people(route), {}, "renew it");
  if (!route.blocked.empty()) return fail(Code::denied, fmt::format("route {} is blocked", route.id), for_people(route), route.blocked);
  return RoutePtr(shared_from_this(), &route);
}

Result<RoutePtr> Routing::find(const Asker& asker, const Destination& destination, std::chrono::sys_seconds now) const {
  if (!asker.flow.empty()) {
    const auto found = by_id_.find(asker.flow);
    if (found == by_id_.end() || !admits(*found->second, asker) || !leads_to(*found->second, destination)) {
      return fail(no_route(asker, destination));
    }
    return checked(*found->second, now);
  }
  const Route* fit = nullptr;
  if (const auto* name = std::get_if<std::string>(&destination.host)) {
    const auto named = by_name_.find(plain_name(*name));
    if (named != by_name_.end()) fit = first_fit(named->second, asker, destination);
  } else {
    const auto exact = by_host_.find(std::get<IpAddress>(destination.host).unmapped());
    if (exact != by_host_.end()) fit = first_fit(exact->second, asker, destination);
    if (fit == nullptr) fit = first_fit(wide_, asker, destination);
  }
  if (fit == nullptr) return fail(no_route(asker, destination));
  return checked(*fit, now);
}

Result<RoutePtr> Routing::find_bind(const Asker& asker, const std::optional<Destination>& expected,
                                    std::chrono::sys_seconds now) const {
  for (const auto& route : table_.routes) {
    if (!route.bind || !admits(route, asker)) continue;
    auto peer = expected;
    if (peer && peer->port == 0) peer->port = route.destination.ports.first;
    if (!peer || leads_to(route, *peer)) return checked(route, now);
  }
  auto error = no_route(asker, expected.value_or(Destination{IpAddress{}, 0}));
  error.what = "BIND: " + error.what;
  error.advice = "give the route of this flow \"bind\": true, if its server is to connect back";
  return fail(std::move(error));
}

bool Routing::entitles(const Asker& asker, std::chrono::sys_seconds now) const {
  return std::ranges::any_of(table_.routes, [&](const Route& route) { return admits(route, asker) && grants(route, now); });
}

Error Routing::no_route(const Asker& asker, const Destination& destination) const {
  for (const auto& refusal : table_.refusals) {
    const auto* ip = std::get_if<IpAddress>(&destination.host);
    if (ip != nullptr && refusal.destination.block.contains(ip->unmapped()) && refusal.destination.ports.contains(destination.port)) {
      return {Code::denied, "flow " + refusal.flow + " is refused", destination.text(), refusal.reason};
    }
  }
  const auto who = asker.identity.empty() ? asker.address.text() : asker.identity;
  const auto named = asker.flow.empty() ? std::string() : fmt::format(" as flow {}", asker.flow);
  return {Code::no_route, fmt::format("no route from {}{}", who, named), destination.text(), {},
          "submit an application that has this flow, or add a route"};
}

RoutePtr Routing::successor(const Route& old, std::chrono::sys_seconds now) const {
  const auto found = by_id_.find(old.id);
  if (found == by_id_.end() || is_past(*found->second, now)) return nullptr;
  if (*found->second != old && essence(*found->second) != essence(old)) return nullptr;
  return {shared_from_this(), found->second};
}

RoutePtr Routing::successor(const Route& old, const Asker& asker, const Wish& wish, std::chrono::sys_seconds now) const {
  auto same = successor(old, now);
  if (!same) return nullptr;
  assert(wish.bind || wish.host);
  const auto again = wish.bind ? find_bind(asker, wish.host, now) : find(asker, *wish.host, now);
  return again && *again == same ? same : nullptr;
}

RoutePtr open_route() {
  auto route = std::make_shared<Route>();
  route->id = "allow-all";
  route->flow = "allow-all";
  route->destination.block = {IpAddress{}, 0};
  route->replay_safe = true;  // data in a SYN only where the client asks for it by a stack option
  return route;
}

}  // namespace epif
