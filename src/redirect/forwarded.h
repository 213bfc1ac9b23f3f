#pragma once
#include <cstdint>

#include "net/limiter.h"

namespace epif::redirect {

/// What hosts that this node forwards for (--gateway) hold here, each counted for itself as a source: none takes what the others and
/// the node's own programs need. Own programs have no limit but that of all. One of a redirector, for all its threads. Thread-safe;
/// outlives its places.
struct Forwarded {
  /// Of one source; 0: those of base/limits.h.
  struct Limits {
    std::uint32_t connections = 0;
    std::uint32_t handshakes = 0;  ///< connections that their proxy has not answered yet
    std::uint32_t rate = 0;        ///< new connections a second
  };
  /// `max_flows`: connections of all sources and of the node's own programs.
  Forwarded(const Limits& wishes, std::uint32_t max_flows);

  struct State {
    net::Limiter::Limits most{};         ///< of connections
    net::Limiter::State connections{};
    std::uint32_t most_associations = 0;  ///< of one source
    net::Limiter::State associations{};
  };
  [[nodiscard]] State state() const;

  net::Limiter connections;
  net::Limiter associations;  ///< of datagrams
};

}  // namespace epif::redirect
