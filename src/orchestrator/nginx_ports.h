#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "model/assignment.h"

/// The ports on which a proxy's NGINX listens, one for each pair of nodes and server port (limits::nginx_port_first to
/// nginx_port_last). The assignments in the store are the only memory. Pure.
namespace epif::orchestrator {

/// proxy -> flow id -> port
using NginxPorts = std::map<std::string, std::map<std::string, std::uint16_t>>;

/// Adds the ports that a proxy's assignment gives to flows.
void note_nginx_ports(const Assignment& assignment, NginxPorts& ports);

/// Gives out ports. A flow that had one keeps it; a new flow gets one by its id, so that a port that was given back does not
/// go to the next flow: a client that has not heard of the change yet must meet a closed port and not another server.
class PortBook {
 public:
  explicit PortBook(const NginxPorts& known);
  /// Nothing if all ports of that proxy are taken.
  [[nodiscard]] std::optional<std::uint16_t> take(const std::string& proxy, const std::string& flow);

 private:
  NginxPorts given_;
  std::map<std::string, std::set<std::uint16_t>> taken_;
};

}  // namespace epif::orchestrator
