#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "net/stream.h"
#include "net/tcp.h"

/// The port of a BIND: it waits for one connection of the host that is expected, and resets all others.
namespace epif::proxy {

/// Who may connect.
struct ExpectedPeer {
  std::vector<IpAddress> hosts{};  ///< one of these; empty: whoever lies in `block`
  Cidr block{IpAddress{}, 0};      ///< prefix 0: everybody, of either family
  [[nodiscard]] bool admits(const IpAddress& host) const;
};

/// Our address as `host` would see it. Errors: net_unreachable, no_descriptors.
[[nodiscard]] Result<IpAddress> address_towards(const IpAddress& host);

/// A listening socket and the address that the peer is to be told. An unspecified `at` listens for both families (IPv4 alone
/// where there is no IPv6) and is told as `told`. Errors: address_in_use, permission, host_unreachable (not our address).
struct OpenPort {
  Fd socket;
  SocketAddress bound;
};
[[nodiscard]] Result<OpenPort> open_port(SocketAddress at, const IpAddress& told, net::ListenOptions options);

class PeerListener {
 public:
  struct Peer {
    Fd connection;
    SocketAddress address;
  };
  /// Listens at once. When a peer is there, or no peer can come any more, the reader of `client` is nudged. `client` outlives it.
  PeerListener(Fd socket, ExpectedPeer expected, net::Stream& client);
  ~PeerListener();
  PeerListener(const PeerListener&) = delete;
  PeerListener& operator=(const PeerListener&) = delete;

  [[nodiscard]] bool ready() const;            ///< a peer is there
  [[nodiscard]] std::optional<Peer> take();
  [[nodiscard]] bool gone() const;             ///< the socket was shut down: no peer will come
  [[nodiscard]] std::uint64_t turned_away() const;  ///< connections of others

 private:
  struct State;
  static net::Task<void> watch(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace epif::proxy
