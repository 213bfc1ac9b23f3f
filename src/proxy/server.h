#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/users.h"
#include "base/error.h"
#include "base/ip.h"
#include "base/limits.h"
#include "net/pipe_pool.h"
#include "net/tls.h"
#include "net/turns.h"

namespace epif::proxy {

struct Settings {
  std::vector<SocketAddress> listen;          ///< in clear: SOCKS4, 4a, 5 and 6 on one port
  std::optional<SocketAddress> tls_listen;    ///< TLS 1.3, client certificate required
  std::optional<net::TlsFiles> tls;           ///< for tls_listen and for legs to next proxies
  std::size_t warm = limits::warm_pool_connections_next;  ///< connections that stand ready, to each next proxy and on each thread
  bool trunk = true;                          ///< trunks are offered to clients that ask
  bool multipath = false;                     ///< listeners and legs to next proxies speak MPTCP where the other side does
  std::optional<std::filesystem::path> routes;
  bool allow_all = false;
  admission::Users users;
  std::vector<SocketAddress> name_servers;    ///< of the DNS service; empty: the system's
  std::string admin;                          ///< path of the admin socket; empty: none
  bool take_over = false;                     ///< from the proxy that serves `admin`: its listening sockets, without a lost connection
  std::optional<std::filesystem::path> hpke_key;
  net::Splice splice = net::Splice::bulk;     ///< between a client and a server in clear
  net::Turns turns = net::Turns::batch;       ///< of the threads that carry
  unsigned threads = 0;                       ///< 0: one a core
  std::uint32_t max_connections = 0;          ///< 0: as many as the descriptors allow, at most limits::max_connections
  std::uint32_t max_connections_per_source = 0;
  // Further limits of clients that have not asked for anything yet; 0: those of base/limits.h.
  std::uint32_t max_handshakes = 0;
  std::uint32_t max_handshakes_per_source = 0;
  std::uint32_t max_rate = 0;                 ///< connections a second
  std::uint32_t max_rate_per_source = 0;
  std::size_t max_handshake_bytes = 0;        ///< unread bytes of requests, all together
  std::size_t max_handshake_bytes_per_source = 0;
  std::uint32_t bind_deadline_s = 0;          ///< for the peer of a BIND; 0: that of base/limits.h
  bool socksx_everywhere = false;             ///< all listeners take SOCKS6 in the form of the EPI project
  std::vector<SocketAddress> socksx;          ///< these do
};

/// Runs a proxy until SIGTERM or SIGINT: then it accepts no more, lets open flows end for a bounded time, and cuts the rest;
/// a second signal cuts at once. SIGHUP reads the routes and the certificate again. To be called once, from the main thread,
/// before other threads exist. Errors of the start: address_in_use, permission, invalid_input, not_found ...; nothing is left half open then.
[[nodiscard]] Result<> serve(Settings settings);

}  // namespace epif::proxy
