#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

/// The redirector's nftables rules as text. Pure: the same input gives the same bytes.
///
/// Two tables carry one name: `inet` redirects TCP of this node to the redirector and drops what else goes towards a
/// protected destination (output, forward); `netdev` drops the same once more where packets leave a device, since raw frames
/// (AF_PACKET) see no other hook. A redirected packet goes to loopback, so whatever still bears a protected destination
/// after address translation is wrong: an old connection, another protocol, a connection without tracking.
namespace epif::redirect {

/// Every packet of the redirector's own connections bears this mark.
inline constexpr std::uint32_t own_mark = 0xE91F;
inline constexpr std::string_view table_prefix = "epif_redirect_";
[[nodiscard]] std::string table_name(std::uint16_t listen_port);

struct CaptureRules {
  std::uint16_t listen_port = 15001;
  /// Protected destinations. With all ports: nothing else reaches the block. With ports: TCP, UDP, UDP-Lite, SCTP and DCCP to
  /// other ports pass; other protocols and later fragments, whose port nobody can see, do not.
  std::vector<CaptureTarget> targets;
  /// Where marked TCP traffic may go: the proxies, and destinations of routes without a proxy.
  std::vector<CaptureTarget> own;
};

/// One transaction that replaces both tables whatever they held before. `devices`: all but loopback.
[[nodiscard]] std::string install_script(const CaptureRules& rules, const std::vector<std::string>& devices);
/// One transaction that removes both tables, there or not.
[[nodiscard]] std::string remove_script(std::string_view table);

}  // namespace epif::redirect
