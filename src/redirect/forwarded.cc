#include "redirect/forwarded.h"

#include <algorithm>
#include <limits>

namespace epif::redirect {
namespace {

constexpr auto unlimited = std::numeric_limits<std::uint32_t>::max();

std::uint32_t share(std::uint32_t whole, std::uint32_t percent) { return std::max(1u, whole * percent / 100); }

net::Limiter::Limits connection_limits(const Forwarded::Limits& wishes, std::uint32_t max_flows) {
  net::Limiter::Limits made{Forwarded::part_of(max_flows),
                            wishes.connections != 0 ? wishes.connections : share(max_flows, limits::forwarded_source_percent)};
  made.handshakes = unlimited;
  made.handshakes_per_source = wishes.handshakes != 0 ? wishes.handshakes : share(made.per_source, limits::forwarded_handshake_percent);
  made.per_second = unlimited;
  if (wishes.rate != 0) made.per_second_per_source = wishes.rate;
  return made;
}

/// For what a thread counts in all.
net::Limiter::Limits only_of_a_source(std::uint32_t most) {
  net::Limiter::Limits made{unlimited, most};
  made.handshakes = made.handshakes_per_source = unlimited;
  made.per_second = made.per_second_per_source = unlimited;
  return made;
}

}  // namespace

Forwarded::Forwarded(const Limits& wishes, std::uint32_t max_flows, unsigned threads)
    : connections(connection_limits(wishes, max_flows)), associations(only_of_a_source(limits::datagram_associations_per_source)),
      questions(only_of_a_source(share(limits::dns_queries * threads, limits::forwarded_source_percent))) {}

std::uint32_t Forwarded::part_of(std::uint32_t whole) { return share(whole, limits::forwarded_percent); }

Forwarded::State Forwarded::state() const {
  return {connections.limits(), connections.state(), associations.limits().per_source, associations.state(),
          questions.limits().per_source, questions.state()};
}

}  // namespace epif::redirect
