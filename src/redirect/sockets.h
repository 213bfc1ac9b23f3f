#pragma once
#include <vector>

#include "net/handover.h"
#include "redirect/settings.h"

namespace epif::redirect {

/// What one thread hears on; IPv4 and IPv6 each.
struct Sockets {
  std::vector<Fd> connections{};  ///< listening; one for stand-ins as well, if there are any
  std::vector<Fd> datagrams{};
  std::vector<Fd> dns_connections{};
  std::vector<Fd> dns_datagrams{};
};

/// Those of one thread, on the ports of `settings`. Errors: address_in_use, no_descriptors, io.
[[nodiscard]] Result<Sockets> bind_sockets(const Settings& settings);

/// One more listener of a thread, for connections that net::ConnectHook leads. Errors: address_in_use (some program has the port at
/// another address of the node), no_descriptors, io.
[[nodiscard]] Result<Fd> listen_for_stand_ins(std::uint16_t port);

/// Copies for a successor, each in words: "socket connections 0" is one that thread 0 accepts on. Errors: no_descriptors.
[[nodiscard]] Result<std::vector<net::Handed>> copies_of(const std::vector<Sockets>& threads);
/// The inverse: takes all "socket" things out of `things`. Errors: protocol.
[[nodiscard]] Result<std::vector<Sockets>> take_sockets(std::vector<net::Handed>& things);

}  // namespace epif::redirect
