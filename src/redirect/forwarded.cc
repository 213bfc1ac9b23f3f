#include "redirect/forwarded.h"

#include <algorithm>
#include <limits>

namespace epif::redirect {
namespace {

constexpr auto unlimited = std::numeric_limits<std::uint32_t>::max();  // in all: that is each thread's own count

std::uint32_t part_of(std::uint32_t whole, std::uint32_t percent) { return std::max(1u, whole * percent / 100); }

net::Limiter::Limits connection_limits(const Forwarded::Limits& wishes, std::uint32_t max_flows) {
  net::Limiter::Limits made{unlimited, wishes.connections != 0 ? wishes.connections : part_of(max_flows, limits::forwarded_source_percent)};
  made.handshakes = unlimited;
  made.handshakes_per_source = wishes.handshakes != 0 ? wishes.handshakes : part_of(made.per_source, limits::forwarded_handshake_percent);
  made.per_second = unlimited;
  if (wishes.rate != 0) made.per_second_per_source = wishes.rate;
  return made;
}

net::Limiter::Limits association_limits() {
  net::Limiter::Limits made{unlimited, limits::datagram_associations_per_source};
  made.handshakes = made.handshakes_per_source = unlimited;
  made.per_second = made.per_second_per_source = unlimited;
  return made;
}

}  // namespace

Forwarded::Forwarded(const Limits& wishes, std::uint32_t max_flows)
    : connections(connection_limits(wishes, max_flows)), associations(association_limits()) {}

Forwarded::State Forwarded::state() const {
  return {connections.limits(), connections.state(), associations.limits().per_source, associations.state()};
}

}  // namespace epif::redirect
