#include "onward/dns_service.h"

#include <fstream>
#include <sstream>

namespace epif::onward {
namespace {

constexpr std::uint16_t dns_port = 53;

}  // namespace

bool is_dns_service(const Destination& destination) {
  const auto* ip = std::get_if<IpAddress>(&destination.host);
  return ip != nullptr && ip->is_any() && destination.port == dns_port;
}

std::vector<SocketAddress> name_servers_of(std::string_view resolv_conf) {
  std::vector<SocketAddress> servers;
  std::istringstream lines{std::string(resolv_conf)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    // A zone ("fe80::1%eth0") is of no use to a socket that is not bound to it.
    const auto address = key == "nameserver" ? IpAddress::parse(value) : fail(Code::not_found, "another line");
    if (address) servers.push_back({*address, dns_port});
  }
  return servers;
}

std::vector<SocketAddress> system_name_servers() {
  std::ifstream file("/etc/resolv.conf");
  std::stringstream text;
  text << file.rdbuf();
  return name_servers_of(text.str());
}

std::vector<SocketAddress> name_servers_or_system(const std::vector<SocketAddress>& chosen) {
  return chosen.empty() ? system_name_servers() : chosen;
}

net::Task<Result<Upstream>> connect_name_server(net::Loop& loop, std::vector<SocketAddress> servers, net::ConnectOptions options,
                                                net::TimePoint deadline) {
  Error why{Code::refused, "this proxy has no name server to ask", {}, {}, "give --dns, or a nameserver in /etc/resolv.conf"};
  for (const auto& server : servers) {
    std::vector<IpAddress> only(1, server.ip);
    auto made = co_await connect_any(loop, std::move(only), server.port, options, {}, deadline);
    if (made) co_return made;
    why = std::move(made.error());
  }
  co_return fail(std::move(why));
}

}  // namespace epif::onward
