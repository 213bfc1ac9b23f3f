#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "redirect/excluded_programs.h"

/// The redirector's nftables rules as text. Pure: the same input gives the same bytes.
///
/// Two tables carry one name: `inet` brings TCP of this node to the redirector by address translation, and datagrams, DNS and
/// forwarded traffic by tproxy; it drops what else goes towards a protected destination (output, forward, postrouting).
/// `netdev` drops the same once more where packets leave a device, since raw frames (AF_PACKET) see no other hook. What the
/// redirector takes goes to loopback, so whatever still bears a protected destination on a device is wrong: an old connection,
/// another protocol, a connection without tracking, a datagram whose way to loopback somebody removed.
namespace epif::redirect {

/// Plain names of routes and their aliases.
using Names = std::vector<std::pair<std::string, IpAddress>>;

/// Every packet of the redirector's own sockets bears its mark; this one where none was chosen.
inline constexpr std::uint32_t own_mark = 0xE91F;
/// One that no program can know from reading this. It keeps clear of the marks of redirected packets and of bits by which
/// Kubernetes, Cilium and Tailscale route.
[[nodiscard]] std::uint32_t random_mark();
/// Packets on their way to the redirector over loopback; a routing rule of this node delivers them there.
[[nodiscard]] std::uint32_t capture_mark(std::uint16_t listen_port);
inline constexpr std::string_view table_prefix = "epif_redirect_";
/// Of the chain for excluded programs.
inline constexpr std::string_view programs_chain_name = "excluded_programs";
[[nodiscard]] std::string table_name(std::uint16_t listen_port);

/// A flow that NGINX carries: the kernel sends the node's own connections to `server` to NGINX's port, and no program of ours is
/// on their way.
struct Diversion {
  SocketAddress server;
  SocketAddress nginx;  ///< of the same family
  friend auto operator<=>(const Diversion&, const Diversion&) = default;
};

struct CaptureRules {
  std::uint16_t listen_port = 15001;
  /// Protected destinations. With all ports: nothing else reaches the block. With ports: TCP, UDP, UDP-Lite, SCTP and DCCP to
  /// other ports pass; other protocols and later fragments, whose port nobody can see, do not.
  std::vector<CaptureTarget> targets;
  /// Where marked TCP traffic may go: the proxies, and destinations of routes without a proxy.
  std::vector<CaptureTarget> own;
  /// Where marked datagrams may go: relays of SOCKS5 proxies, and destinations of UDP routes without a proxy.
  std::vector<CaptureTarget> own_datagrams{};
  /// Neither captured nor guarded, though a target may cover them.
  std::vector<CaptureTarget> excluded{};
  ExcludedPrograms programs{};  ///< whose traffic is neither captured nor guarded
  std::uint32_t mark = own_mark;  ///< of the redirector's own packets
  Names names{};               ///< answered once; no part of the kernel's rules, remembered with them
  std::uint16_t dns_port = 0;  ///< all DNS of the node goes there; 0: none
  std::vector<Diversion> diversions{};
  /// Ports of NGINX that had a diversion once. Nothing goes there any more: told of a reset here, NGINX would end the server's
  /// leg politely, and what was cut would look complete.
  std::vector<SocketAddress> retired{};
  bool gateway = false;        ///< what the node forwards is taken as its own is
  bool stand_ins = false;      ///< the redirector listens for net::ConnectHook's stand-ins
  bool untracked = false;      ///< the redirector's own connections stay out of connection tracking
  friend bool operator==(const CaptureRules&, const CaptureRules&) = default;
};

/// One transaction that replaces both tables whatever they held before. `devices`: all but loopback.
[[nodiscard]] std::string install_script(const CaptureRules& rules, const std::vector<std::string>& devices);
/// One transaction that removes both tables, there or not.
[[nodiscard]] std::string remove_script(std::string_view table);

}  // namespace epif::redirect
