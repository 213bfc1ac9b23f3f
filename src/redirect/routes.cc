#include "redirect/routes.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace epif::redirect {
namespace {

/// Narrower blocks first, then fewer ports.
std::pair<unsigned, unsigned> width(const CaptureTarget& target) {
  return {(target.block.address.is_v6() ? 128u : 32u) - target.block.prefix,
          static_cast<unsigned>(target.ports.last - target.ports.first)};
}

bool covers(const CaptureTarget& target, const SocketAddress& wanted) {
  return target.ports.contains(wanted.port) && target.block.contains(wanted.ip.unmapped());
}

template <class Item>
const Item* narrowest(const std::vector<Item>& items, const SocketAddress& wanted) {
  const Item* best = nullptr;
  for (const auto& item : items) {
    if (covers(item.destination, wanted) && (best == nullptr || width(item.destination) < width(best->destination))) {
      best = &item;
    }
  }
  return best;
}

CaptureTarget exactly(const SocketAddress& address) {
  const std::uint8_t prefix = address.ip.is_v6() ? 128 : 32;
  return {{address.ip, prefix}, {address.port, address.port}};
}

}  // namespace

void tidy(std::vector<CaptureTarget>& targets) {
  const auto key = [](const CaptureTarget& target) {
    return std::tuple(target.block.address, target.block.prefix, target.ports.first, target.ports.last);
  };
  std::ranges::sort(targets, {}, key);
  const auto duplicates = std::ranges::unique(targets);
  targets.erase(duplicates.begin(), duplicates.end());
}

Routes Routes::to_one_proxy(const std::vector<CaptureTarget>& targets, SocketAddress proxy, const Identity& identity) {
  RouteTable table;
  for (const auto& target : targets) {
    Route route;
    route.flow = target.text();
    route.destination = target;
    route.next = NextHop{proxy, identity, {}};
    table.routes.push_back(std::move(route));
  }
  return Routes(std::move(table));
}

Result<const Route*> Routes::find(const SocketAddress& wanted, std::chrono::sys_seconds now) const {
  const auto* route = narrowest(table_.routes, wanted);
  if (route == nullptr) {
    const auto* refusal = narrowest(table_.refusals, wanted);
    return fail(Code::no_route, "no route permits this connection", wanted.text(),
                refusal == nullptr ? "" : refusal->flow + ": " + refusal->reason);
  }
  if (!route->blocked.empty()) return fail(Code::denied, "the route is blocked", wanted.text(), route->blocked);
  if (route->expires != std::chrono::sys_seconds{} && route->expires <= now) {
    return fail(Code::expired, "the route has expired", wanted.text(), route->flow);
  }
  return route;
}

std::optional<std::chrono::sys_seconds> Routes::next_expiry(std::chrono::sys_seconds now) const {
  std::optional<std::chrono::sys_seconds> next;
  for (const auto& route : table_.routes) {
    if (route.expires > now && (!next || route.expires < *next)) next = route.expires;
  }
  return next;
}

std::vector<CaptureTarget> Routes::targets() const {
  std::vector<CaptureTarget> targets;
  for (const auto& route : table_.routes) targets.push_back(route.destination);
  for (const auto& refusal : table_.refusals) targets.push_back(refusal.destination);
  tidy(targets);
  return targets;
}

std::vector<CaptureTarget> Routes::own() const {
  std::vector<CaptureTarget> own;
  for (const auto& route : table_.routes) {
    // Nobody's marked traffic needs the way of a direct route that is shut.
    if (!route.next && !route.blocked.empty()) continue;
    own.push_back(route.next ? exactly(route.next->proxy) : route.destination);
  }
  tidy(own);
  return own;
}

bool same_permit(const Route& before, const Route& now) {
  auto renewed = before;
  renewed.expires = now.expires;
  renewed.policy = now.policy;
  renewed.policy_version = now.policy_version;
  return renewed == now;
}

bool server_speaks_first(std::uint16_t port) {
  static constexpr std::array<std::uint16_t, 11> ports{21, 22, 23, 25, 110, 143, 194, 587, 3306, 5900, 6667};
  return std::ranges::binary_search(ports, port);
}

}  // namespace epif::redirect
