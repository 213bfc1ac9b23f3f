#include "redirect/diverted.h"

#include <algorithm>

#include "net/conntrack.h"
#include "net/tcp_table.h"

namespace epif::redirect {
namespace {

bool is_target(const CaptureRules& rules, const SocketAddress& address) {
  return std::ranges::any_of(rules.targets, [&](const CaptureTarget& target) {
    return target.ports.contains(address.port) && target.block.contains(address.ip);
  });
}

bool is_over(const CaptureRules& rules, const net::TrackedTcp& connection, bool all_unknown) {
  if (connection.answers == connection.destination || connection.answers.ip.is_loopback()) return false;
  if (std::ranges::find(rules.diversions, Diversion{connection.destination, connection.answers}) != rules.diversions.end())
    return false;
  if (std::ranges::find(rules.retired, connection.answers) != rules.retired.end()) return true;
  return all_unknown && is_target(rules, connection.destination);
}

}  // namespace

Result<> end_undiverted(const CaptureRules& rules, bool all_unknown) {
  const auto tracked = net::tracked_tcp();
  if (!tracked) return fail(tracked.error());
  Result<> first;
  for (const auto& connection : *tracked) {
    if (!is_over(rules, connection, all_unknown)) continue;
    // The entry first: the reset of the program's socket must not be translated and reach NGINX.
    auto done = net::forget(connection);
    net::TcpEntry socket;
    socket.local = connection.source;
    socket.remote = connection.destination;
    socket.cookie = net::any_cookie;
    auto ended = net::end_socket(socket);
    if (first && !done) first = std::move(done);
    if (first && !ended) first = std::move(ended);
  }
  return first;
}

}  // namespace epif::redirect
