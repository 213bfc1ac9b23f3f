#pragma once
#include <cstddef>
#include <cstdint>

#include "net/limiter.h"

namespace epif::redirect {

/// What hosts that this node forwards for (--gateway) hold here. Each address counts for itself as a source, so that none takes what the
/// others need; as a host may have many, all together get a part only, and the rest stays for the node's own programs. These have no
/// limit but that of all. One of a redirector, for all its threads. Thread-safe; outlives its places.
struct Forwarded {
  /// Of one source; 0: those of base/limits.h.
  struct Limits {
    std::uint32_t connections = 0;
    std::uint32_t handshakes = 0;  ///< connections that their proxy has not answered yet
    std::uint32_t rate = 0;        ///< new connections a second
    [[nodiscard]] bool any() const { return connections != 0 || handshakes != 0 || rate != 0; }
  };
  /// `max_flows`: connections of all sources and of the node's own programs.
  Forwarded(const Limits& wishes, std::uint32_t max_flows, unsigned threads);

  /// Of all sources together, on each thread: of `whole` connections, of associations, of questions.
  [[nodiscard]] static std::uint32_t part_of(std::uint32_t whole);
  static constexpr std::size_t associations_of_a_thread = limits::datagram_associations * limits::forwarded_percent / 100;
  static constexpr std::size_t questions_of_a_thread = limits::dns_queries * limits::forwarded_percent / 100;

  struct State {
    net::Limiter::Limits most{};         ///< of connections
    net::Limiter::State connections{};
    std::uint32_t most_associations = 0;  ///< of one source
    net::Limiter::State associations{};
    std::uint32_t most_questions = 0;     ///< of one source
    net::Limiter::State questions{};
  };
  [[nodiscard]] State state() const;

  net::Limiter connections;
  net::Limiter associations;  ///< of datagrams
  net::Limiter questions;     ///< DNS that is passed on, and connections that ask
};

}  // namespace epif::redirect
