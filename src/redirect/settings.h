#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "net/pipe_pool.h"
#include "net/tls.h"
#include "net/turns.h"
#include "redirect/capture.h"
#include "redirect/forwarded.h"
#include "redirect/handshake.h"
#include "redirect/stand_ins.h"

namespace epif::redirect {

/// Where nobody says how many. The programs that it serves run on the same node. Besides, fewer threads find more to send at once.
[[nodiscard]] inline unsigned usual_threads() { return std::max(1u, std::thread::hardware_concurrency() / 2); }

/// How the redirector works, whatever the routes say. Constant while it runs; shared by its threads.
struct Settings {
  std::uint16_t listen_port = 15001;
  std::uint16_t dns_port = 0;              ///< where captured DNS arrives; 0: it is not captured
  std::uint32_t mark = own_mark;           ///< of its own packets
  std::vector<CaptureTarget> excluded;     ///< neither captured nor guarded
  unsigned threads = 1;
  int socks = 6;                           ///< 5 or 6
  std::uint32_t max_flows = limits::max_connections;  ///< of all threads together
  std::optional<std::size_t> warm{};       ///< connections that stand ready to each proxy; absent: see kept_ready()
  bool fast_open = false;                  ///< to the proxy, and by stack option from the proxy to the server
  std::uint32_t first_bytes_wait_ms = limits::first_bytes_wait_ms;  ///< for the client to speak; 0: only what is there already
  bool multipath = false;                  ///< MPTCP to the proxies, where they and this kernel have it
  bool false_start = true;                 ///< SOCKS6: the client's first bytes go with the request, before any reply
  bool trunk = true;                       ///< SOCKS6: one connection for many flows, where the proxy offers it
  net::Splice splice = net::Splice::bulk;  ///< between a program and a proxy in clear
  net::Turns turns = net::Turns::batch;    ///< of the threads that carry
  std::shared_ptr<StandIns> stand_ins{};   ///< null: connections come by address translation alone
  std::shared_ptr<Forwarded> forwarded{};  ///< never null in a redirector
  std::optional<ProxyUser> user;
  std::shared_ptr<net::TlsContext> tls;    ///< null: no leg can be TLS
  bool tls_always = false;                 ///< standalone use with a certificate: TLS even if no identity is named

  /// Fast Open carries the request itself in a SYN: each flow has a connection of its own. TLS and SOCKS5 have other words to say first.
  [[nodiscard]] bool asks_in_syn(bool in_clear) const { return fast_open && in_clear && socks == 6; }
  /// A connection that stands ready has sent its SYN: unless told how many, none then.
  [[nodiscard]] std::size_t kept_ready(bool in_clear) const {
    return warm.value_or(asks_in_syn(in_clear) ? 0 : limits::warm_pool_connections);
  }
  /// A trunk is one path only, and sends no SYN.
  [[nodiscard]] bool uses_trunks(bool in_clear) const { return trunk && socks == 6 && !multipath && !asks_in_syn(in_clear); }
  [[nodiscard]] std::uint32_t max_flows_per_thread() const { return max_flows / threads; }
};

}  // namespace epif::redirect
