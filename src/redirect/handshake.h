#pragma once
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/ip.h"
#include "net/stream.h"
#include "socks/target.h"
#include "socks/trunk_option.h"

/// The client's side of SOCKS5 and SOCKS6 on an open stream to the proxy.
namespace epif::redirect {

/// Name and password for the proxy; 1..255 bytes each.
struct ProxyUser {
  std::string name;
  std::string password;
};

/// What to ask the proxy for.
struct Wish {
  Destination destination;    ///< for datagrams: where the proxy should bind, zeros for anywhere
  std::string_view flow;      ///< flow id, SOCKS6 only; empty: none
  bool fast_open = false;     ///< the proxy should use TCP Fast Open to the server (SOCKS6 stack option)
  const ProxyUser* user = nullptr;
  socks::Command command = socks::Command::connect;
  std::optional<socks6::TrunkOption> trunk{};  ///< SOCKS6 only
};

/// A SOCKS6 request with `initial` data behind it (at most limits::socks6_initial_data_max_bytes). Errors: invalid_input.
[[nodiscard]] Result<Bytes> socks6_request(const Wish& wish, ByteSpan initial);
/// Reads both SOCKS6 replies. Gives what the server has sent behind them already, and in `trunk`, if not null, what the proxy
/// says of trunks. Errors: unauthenticated, the reply's code, protocol, those of the stream.
[[nodiscard]] net::Task<Result<Bytes>> socks6_replies(net::Stream& proxy, net::TimePoint deadline,
                                                      std::optional<socks6::TrunkOption>* trunk = nullptr);

/// Greeting and authentication, which can be done before a destination is known. `user` may be null and must outlive the call.
[[nodiscard]] net::Task<Result<>> socks5_authenticate(net::Stream& proxy, const ProxyUser* user, net::TimePoint deadline);
/// Request and reply of UDP ASSOCIATE, on an authenticated stream: the relay's address as the proxy says it. Errors as above.
[[nodiscard]] net::Task<Result<SocketAddress>> socks5_associate(net::Stream& proxy, net::TimePoint deadline);
/// Request and reply, on an authenticated stream. Gives what the server has sent already. Errors as above.
[[nodiscard]] net::Task<Result<Bytes>> socks5_connect(net::Stream& proxy, Destination destination, net::TimePoint deadline);

}  // namespace epif::redirect
