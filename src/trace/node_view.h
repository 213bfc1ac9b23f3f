#pragma once
#include <string>
#include <vector>

#include "trace/walk.h"

namespace epif::trace {

/// Where to look on this node.
struct Places {
  std::vector<std::string> routes;   ///< routes files; empty with empty `agents`: those of the default folders
  std::vector<std::string> admins;   ///< admin sockets of redirectors and proxies
  std::vector<std::string> agents;   ///< state folders of agents
  std::string state = "/run/epif";   ///< the redirector's, in standalone use
};

/// Reads rules, tables and sockets of this node, as they are now. A malformed file is an error only where no process answers for
/// it. Errors: permission, those of a named file.
[[nodiscard]] Result<View> look_around(const Places& places);
/// Looks that ask this machine. `connect`: tries connections, each within limits::connect_deadline_ms.
[[nodiscard]] Looks real_looks(bool connect);
/// Recent refusals of `destination` ("10.2.0.20:80") that the processes of the view and `admins` remember, one line each.
[[nodiscard]] std::vector<std::string> recent_refusals(const View& view, const std::vector<std::string>& admins, const std::string& destination);
/// Listen ports of the redirectors that serve, from the text of /proc/net/unix. One that only drains holds another name; pure.
[[nodiscard]] std::vector<std::uint16_t> serving_ports(std::string_view sockets);
/// Whose metrics these are, if of one of the two; pure.
[[nodiscard]] std::optional<Role> role_told(std::string_view metrics);
/// The generation of the routes that they tell of; pure.
[[nodiscard]] std::optional<std::uint64_t> generation_told(std::string_view metrics);
/// The refusals of an answer to GET /flows; pure.
[[nodiscard]] std::vector<std::string> refusals_of(std::string_view flows, const std::string& destination);

}  // namespace epif::trace
