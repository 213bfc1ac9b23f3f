#include "redirect/routes.h"

#include <pwd.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
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

/// Below `group`, or `group` itself; both without a leading '/'.
bool lies_in(std::string_view path, std::string_view group) {
  while (group.starts_with('/')) group.remove_prefix(1);
  while (group.ends_with('/')) group.remove_suffix(1);
  return group.empty() || (path.starts_with(group) && (path.size() == group.size() || path[group.size()] == '/'));
}

bool fits(const RouteSelector& selector, const Program* who) {
  if (selector.empty()) return true;
  if (who == nullptr) return false;
  const auto user = std::to_string(who->user);
  const bool by_user = selector.users.empty() || std::ranges::find(selector.users, user) != selector.users.end();
  return by_user && (selector.cgroups.empty() ||
                     std::ranges::any_of(selector.cgroups, [&](const auto& group) { return lies_in(who->cgroup, group); }));
}

/// Narrower blocks first, then fewer ports, then more to select by.
auto rank(const Route& route) {
  const auto [block, ports] = width(route.destination);
  return std::tuple(block, ports, (route.selector.users.empty() ? 1 : 0) + (route.selector.cgroups.empty() ? 1 : 0));
}

bool expired(const Route& route, std::chrono::sys_seconds now) { return route.expires != std::chrono::sys_seconds{} && route.expires <= now; }
/// Carries nothing.
bool shut(const Route& route, std::chrono::sys_seconds now) { return !route.blocked.empty() || expired(route, now); }

std::string words(const Program* who) {
  return who == nullptr ? "a program that is not known" : "user " + std::to_string(who->user) + ", cgroup /" + who->cgroup;
}

CaptureTarget exactly(const SocketAddress& address, PortRange ports) {
  const std::uint8_t prefix = address.ip.is_v6() ? 128 : 32;
  return {{address.ip, prefix}, ports};
}
CaptureTarget exactly(const SocketAddress& address) { return exactly(address, {address.port, address.port}); }

}  // namespace

std::string plain_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string plain(name);
  for (auto& byte : plain) byte = byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  return plain;
}

void tidy(std::vector<CaptureTarget>& targets) {
  const auto key = [](const CaptureTarget& target) {
    return std::tuple(target.block.address, target.block.prefix, target.ports.first, target.ports.last);
  };
  std::ranges::sort(targets, {}, key);
  const auto duplicates = std::ranges::unique(targets);
  targets.erase(duplicates.begin(), duplicates.end());
}

Routes Routes::to_one_proxy(const Standalone& wishes) {
  RouteTable table;
  const auto add = [&](const CaptureTarget& target, const std::string& name) {
    for (const auto transport : {Transport::tcp, Transport::udp}) {
      Route route;
      route.flow = name.empty() ? target.text() : name;
      route.destination = target;
      route.protocol = transport;
      route.selector = wishes.selector;
      route.name = name;
      route.next = NextHop{wishes.proxy, wishes.identity, {}};
      route.replay_safe = wishes.replay_safe;
      table.routes.push_back(std::move(route));
    }
  };
  // Names first: of two routes as narrow, the first one counts.
  for (const auto& [name, address] : wishes.names) add(exactly({address, 0}, PortRange{}), name);
  for (const auto& target : wishes.targets) add(target, {});
  return Routes(std::move(table));
}

Result<const Route*> Routes::find(const Wanted& wanted, std::chrono::sys_seconds now) const {
  const Route* route = nullptr;
  const Route* for_others = nullptr;
  for (const auto& one : table_.routes) {
    if (one.protocol != wanted.transport || !covers(one.destination, wanted.destination)) continue;
    if (!fits(one.selector, wanted.who)) {
      for_others = &one;
    } else if (route == nullptr || rank(one) < rank(*route)) {
      route = &one;
    }
  }
  const bool usable = route != nullptr && route->blocked.empty() && !expired(*route, now) && !route->nginx;
  if (usable) return route;  // before its destination is put into words
  const auto where = wanted.destination.text();
  if (route == nullptr && for_others != nullptr) {
    return fail(Code::no_route, "the route is for other programs", where, words(wanted.who) + " asked for " + for_others->flow);
  }
  if (route == nullptr) {
    const Refusal* refusal = nullptr;
    for (const auto& one : table_.refusals) {
      if (!covers(one.destination, wanted.destination)) continue;
      if (refusal == nullptr || width(one.destination) < width(refusal->destination)) refusal = &one;
    }
    return fail(Code::no_route, wanted.transport == Transport::tcp ? "no route permits this connection" : "no route permits this datagram",
                where, refusal == nullptr ? "" : refusal->flow.empty() ? refusal->reason : refusal->flow + ": " + refusal->reason);
  }
  if (!route->blocked.empty()) return fail(Code::denied, "the route is blocked", where, route->blocked);
  if (expired(*route, now)) {
    return fail(Code::expired, "the route has expired", where, route->flow);
  }
  return fail(Code::denied, "NGINX carries this flow, and the connection came another way", where, route->flow,
              "only connections of this node itself, to the server's own address, are sent there, and only where no other "
              "route or refusal names that address and port");
}

bool Routes::asks_who(Transport transport, const SocketAddress& wanted) const {
  return std::ranges::any_of(table_.routes, [&](const Route& route) {
    return !route.selector.empty() && route.protocol == transport && covers(route.destination, wanted);
  });
}

bool Routes::has_names() const {
  return std::ranges::any_of(table_.routes, [](const Route& route) { return !route.name.empty(); });
}

void Routes::keep_names(Names kept) { kept_names_ = std::move(kept); }

std::map<std::string, std::vector<IpAddress>, std::less<>> Routes::names() const {
  std::map<std::string, std::vector<IpAddress>, std::less<>> names;
  std::set<IpAddress> taken;
  std::vector<Cidr> blocks;
  const auto is_one = [](const Cidr& block) { return block.prefix == (block.address.is_v6() ? 128 : 32); };
  for (const auto& route : table_.routes) {
    const auto& block = route.destination.block;
    if (!is_one(block)) {
      blocks.push_back(block);
      continue;
    }
    if (!route.name.empty()) names[plain_name(route.name)].push_back(block.address);
    taken.insert(block.address);
  }
  // An alias rests: one address of a range that is refused as a whole.
  std::vector<Cidr> ranges;
  for (const auto& [destination, flow, reason] : table_.refusals) {
    if (destination.ports.is_all() && !is_one(destination.block)) ranges.push_back(destination.block);
  }
  for (const auto& [destination, flow, reason] : table_.refusals) {
    const auto& [block, ports] = destination;
    const auto holds = [&](const Cidr& range) { return range.contains(block.address); };
    if (ports.is_all() && is_one(block) && std::ranges::any_of(ranges, holds)) taken.insert(block.address);
  }
  decltype(names) withdrawn;
  std::set<std::string_view> forgotten;
  for (const auto& [name, alias] : kept_names_) {
    if (names.contains(name)) continue;
    auto& aliases = withdrawn[name];
    // Another's by now, or soon: this one must not lead there, and has no address.
    const auto holds = [&alias](const Cidr& block) { return block.contains(alias); };
    if (!taken.contains(alias) && std::ranges::none_of(blocks, holds)) aliases.push_back(alias);
    if (alias.is_any()) forgotten.insert(name);
  }
  for (const auto name : forgotten) withdrawn.find(name)->second.clear();
  names.merge(withdrawn);
  for (auto& [name, addresses] : names) {
    std::ranges::sort(addresses);
    const auto twice = std::ranges::unique(addresses);
    addresses.erase(twice.begin(), twice.end());
  }
  return names;
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

std::vector<CaptureTarget> Routes::own(std::chrono::sys_seconds now) const {
  std::vector<CaptureTarget> own;
  for (const auto& route : table_.routes) {
    if (route.nginx) continue;  // the kernel's, and without a mark
    // Nobody's marked traffic needs the way of a direct route that is shut.
    if (!route.next && (shut(route, now) || route.protocol != Transport::tcp)) continue;
    own.push_back(route.next ? exactly(route.next->proxy) : route.destination);
  }
  tidy(own);
  return own;
}

std::vector<CaptureTarget> Routes::own_datagrams(bool relays, std::chrono::sys_seconds now) const {
  std::vector<CaptureTarget> own;
  for (const auto& route : table_.routes) {
    if (route.protocol != Transport::udp || (route.next && !relays) || (!route.next && shut(route, now))) continue;
    // A relay's port is chosen by the proxy.
    own.push_back(route.next ? exactly(route.next->proxy, PortRange{1, 65535}) : route.destination);
  }
  tidy(own);
  return own;
}

bool Routes::only_nginx(const Route& carried) const {
  const auto& destination = carried.destination;
  const SocketAddress server{destination.block.address, destination.ports.first};
  // The kernel asks nobody who they are: where another route or a refusal is as narrow, programs must be told apart, and that
  // is done here or not at all. Wider ones yield, as they do in find().
  const auto as_narrow = [&](const CaptureTarget& other) { return covers(other, server) && width(other) <= width(destination); };
  return std::ranges::none_of(table_.routes, [&](const Route& other) {
           return &other != &carried && other.protocol == Transport::tcp && (!other.nginx || !other.blocked.empty()) && as_narrow(other.destination);
         }) &&
         std::ranges::none_of(table_.refusals, [&](const Refusal& refusal) { return as_narrow(refusal.destination); });
}

std::vector<Diversion> Routes::diversions(std::chrono::sys_seconds now) const {
  std::map<SocketAddress, SocketAddress> made;
  for (const auto& route : table_.routes) {
    if (!route.nginx || shut(route, now)) continue;
    if (!only_nginx(route)) continue;
    made.try_emplace({route.destination.block.address, route.destination.ports.first}, route.nginx->listen);
  }
  std::vector<Diversion> out;
  for (const auto& [server, nginx] : made) out.push_back({server, nginx});
  return out;
}

std::vector<std::string> resolve_users(RouteTable& table) {
  std::vector<std::string> unknown;
  for (auto& route : table.routes) {
    for (auto& user : route.selector.users) {
      if (std::ranges::all_of(user, [](char byte) { return byte >= '0' && byte <= '9'; })) continue;
      std::array<char, 4096> text;
      passwd entry{};
      passwd* found = nullptr;
      if (::getpwnam_r(user.c_str(), &entry, text.data(), text.size(), &found) == 0 && found != nullptr) {
        user = std::to_string(entry.pw_uid);
      } else {
        unknown.push_back(user);
      }
    }
  }
  return unknown;
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
