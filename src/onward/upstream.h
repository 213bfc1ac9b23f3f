#pragma once
#include <memory>

#include "base/ip.h"
#include "model/route.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "net/tcp.h"
#include "socks/socks6.h"

namespace epif::onward {

/// A connection to the server or to the next proxy, ready for application bytes.
struct Upstream {
  std::unique_ptr<net::Stream> stream;
  SocketAddress bound;         ///< our end of it
  std::size_t sent = 0;        ///< bytes of the early data that are on their way already
  Bytes early{};               ///< bytes of the server that came with the next proxy's reply
  bool fast_open = false;      ///< TCP Fast Open was attempted
  bool raced = false;          ///< addresses were tried beside each other, or would have been had there been more than one
  socks6::StackOptions stack{};  ///< what the next proxy told about its side
};

/// Addresses to try for `target` on `route`, in order. A name that the route pins to one address is not resolved; what a
/// name resolves to must lie inside of the route's destination, so that a name server cannot lead a flow elsewhere. The open
/// route of --allow-all has no such bound. Errors: no_route, those of Resolver::resolve(), which is asked by `asking`.
[[nodiscard]] net::Task<Result<std::vector<IpAddress>>> addresses_of(net::Loop& loop, net::Resolver& resolver, const Destination& target,
                                                                     const Route& route, net::Resolver::Asking& asking);

/// How several addresses of a name are tried.
enum class Attempts {
  race,        ///< RFC 8305: the next one starts when the one before fails, or after 250 ms
  one_by_one,  ///< when the one before has failed
};

/// Connects to the first of `addresses` that answers; families take turns. `first` may travel in the SYN to the first of them
/// if options.fast_open, and then the others follow one by one, without it. Returns when the connection stands. The error is
/// that of the first address.
[[nodiscard]] net::Task<Result<Upstream>> connect_any(net::Loop& loop, std::vector<IpAddress> addresses, std::uint16_t port,
                                                      net::ConnectOptions options, ByteSpan first, net::TimePoint deadline,
                                                      Attempts attempts = Attempts::race);

}  // namespace epif::onward
