#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "model/route.h"

/// The kernel's rules before NGINX, as text. They change in one transaction and at once, whatever NGINX does meanwhile: a
/// route that was withdrawn is closed although NGINX may still listen, because its new configuration is not in force yet or
/// was refused. Pure.
namespace epif::nginx {

inline constexpr std::string_view gate_prefix = "epif_nginx_";
/// The table of the NGINX whose state lies in `state` (an absolute path).
[[nodiscard]] std::string gate_name(std::string_view state);

/// One transaction that replaces the table. To the ports of `listening` (what NGINX may listen on) only the clients of
/// `open` get, each to its own; all others are reset. From a port to a client that is not let in nothing leaves but a reset,
/// so that what is cut is never taken for complete.
[[nodiscard]] std::string gate_script(std::string_view name, const std::vector<Route>& open,
                                      const std::vector<SocketAddress>& listening);
[[nodiscard]] std::string remove_gate_script(std::string_view name);

}  // namespace epif::nginx
