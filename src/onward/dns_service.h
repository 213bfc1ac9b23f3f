#pragma once
#include <vector>

#include "base/ip.h"
#include "onward/upstream.h"

/// DNS offered by the proxy (draft-12 section 11): port 53 of 0.0.0.0 or ::, for connections (RFC 7766) and datagrams, is the
/// system's own resolver. What it is asked passes unchanged.
namespace epif::onward {

[[nodiscard]] bool is_dns_service(const Destination& destination);

/// The name servers of a resolv.conf(5), in order; other lines do not matter.
[[nodiscard]] std::vector<SocketAddress> name_servers_of(std::string_view resolv_conf);
/// Those of this system, as they are now. Empty if it has none.
[[nodiscard]] std::vector<SocketAddress> system_name_servers();

/// `chosen`, or if that is empty the system's.
[[nodiscard]] std::vector<SocketAddress> name_servers_or_system(const std::vector<SocketAddress>& chosen);

/// Connects to the first that answers. Error `refused` if there is none: the service is not offered then.
[[nodiscard]] net::Task<Result<Upstream>> connect_name_server(net::Loop& loop, std::vector<SocketAddress> servers,
                                                              net::ConnectOptions options, net::TimePoint deadline);

}  // namespace epif::onward
