#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "trace/walk.h"

// Names and absent ports, from the routes alone.
namespace epif::trace {
namespace {

bool same_name(std::string_view left, std::string_view right) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::ranges::equal(left, right, {}, lower, lower);
}

bool concerns(const Route& route, const Destination& destination) {
  if (const auto* wanted = std::get_if<std::string>(&destination.host)) return same_name(route.name, *wanted);
  return route.destination.block.contains(std::get<IpAddress>(destination.host).unmapped());
}

/// How well a route of this name answers the question: less is better. The redirector's own table comes before a proxy's, where the
/// name means the server's own address, unless a proxy is asked; then what would serve, then what the rules capture.
auto rank(const Question& question, const View& view, const Table& table, const Route& route) {
  const auto& block = route.destination.block;
  const auto port = question.destination.port == 0 ? route.destination.ports.first : question.destination.port;
  const SocketAddress at{block.address, port};
  const bool by_proxy = !question.from.empty() || view.guards.empty();
  bool serves = route.protocol == question.protocol && route.destination.ports.contains(port) && route.blocked.empty() &&
                (route.expires == std::chrono::sys_seconds{} || route.expires > view.now);
  if (table.role == Role::redirector && serves && !route.nginx) {
    auto table_here = table.routes;
    static_cast<void>(redirect::resolve_users(table_here));
    const redirect::Routes routes(std::move(table_here));
    const auto found = routes.find({at, question.protocol, question.who ? &*question.who : nullptr}, view.now);
    serves = found && (*found)->id == route.id;
  }
  const auto covers = [&](const CaptureTarget& target) { return target.block.contains(at.ip) && target.ports.contains(port); };
  const auto guards = [&](const leak::Guard& guard) { return std::ranges::any_of(guard.targets, covers); };
  const bool captured = std::ranges::any_of(view.guards, guards);
  return std::tuple((table.role == Role::proxy) != by_proxy, !serves, !captured);
}

/// The address that a name means: of all routes that have it, that of the one that would serve.
std::optional<IpAddress> address_of_name(const Question& question, const View& view) {
  std::optional<IpAddress> best;
  std::optional<decltype(rank(question, view, view.tables[0], view.tables[0].routes.routes[0]))> least;
  for (const auto& table : view.tables) {
    for (const auto& route : table.routes.routes) {
      if (!concerns(route, question.destination)) continue;
      const auto its = rank(question, view, table, route);
      if (least && *least <= its) continue;
      least = its;
      best = route.destination.block.address;
    }
  }
  return best;
}

}  // namespace

Result<SocketAddress> resolve(const Question& question, const View& view) {
  std::set<std::uint16_t> ports;
  std::optional<IpAddress> address;
  for (const auto& table : view.tables) {
    for (const auto& route : table.routes.routes) {
      if (!concerns(route, question.destination)) continue;
      if (route.destination.ports.first == route.destination.ports.last) ports.insert(route.destination.ports.first);
    }
    for (const auto& refusal : table.routes.refusals) {
      const auto* wanted = std::get_if<IpAddress>(&question.destination.host);
      const auto& [first, last] = refusal.destination.ports;
      if (wanted != nullptr && first == last && refusal.destination.block.contains(wanted->unmapped())) ports.insert(first);
    }
  }
  if (const auto* given = std::get_if<IpAddress>(&question.destination.host)) address = given->unmapped();
  else address = address_of_name(question, view);
  if (!address) {
    return fail(Code::not_found, "no route on this node has this name", std::get<std::string>(question.destination.host), {},
                "ask for the address");
  }
  auto port = question.destination.port;
  if (port == 0 && ports.size() == 1) port = *ports.begin();
  if (port == 0) {
    const auto known = ports.empty() ? std::string("no route names one") : fmt::format("routes name {}", fmt::join(ports, ", "));
    return fail(Code::usage, "which port?", address->text(), known, "ask for DEST:PORT");
  }
  return SocketAddress{*address, port};
}

}  // namespace epif::trace
