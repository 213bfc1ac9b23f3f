#include <fmt/format.h>

#include <algorithm>
#include <set>

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

}  // namespace

Result<SocketAddress> resolve(const Question& question, const View& view) {
  std::set<std::uint16_t> ports;
  std::optional<IpAddress> address;
  for (const auto& table : view.tables) {
    for (const auto& route : table.routes.routes) {
      if (!concerns(route, question.destination)) continue;
      if (!address) address = route.destination.block.address;
      if (route.destination.ports.first == route.destination.ports.last) ports.insert(route.destination.ports.first);
    }
    for (const auto& refusal : table.routes.refusals) {
      const auto* wanted = std::get_if<IpAddress>(&question.destination.host);
      const auto& [first, last] = refusal.destination.ports;
      if (wanted != nullptr && first == last && refusal.destination.block.contains(wanted->unmapped())) ports.insert(first);
    }
  }
  if (const auto* given = std::get_if<IpAddress>(&question.destination.host)) address = given->unmapped();
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
