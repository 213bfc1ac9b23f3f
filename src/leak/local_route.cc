#include "leak/local_route.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>

#include "base/fd.h"
#include "net/tcp.h"

namespace epif::leak {
namespace {

using Interfaces = std::unique_ptr<ifaddrs, void (*)(ifaddrs*)>;

Interfaces interfaces() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) list = nullptr;
  return {list, ::freeifaddrs};
}

std::optional<IpAddress> address_of(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr) return {};
  const auto family = entry.ifa_addr->sa_family;
  if (family != AF_INET && family != AF_INET6) return {};
  sockaddr_storage storage{};
  std::memcpy(&storage, entry.ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
  return net::from_sockaddr(storage).ip;
}

}  // namespace

std::optional<LocalRoute> route_to(const IpAddress& address) {
  constexpr std::uint16_t any_port = 9;
  const Fd socket(::socket(address.is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const auto length = net::to_sockaddr({address, any_port}, storage);
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return {};
  const auto from = net::local_address(socket.get()).ip;
  const auto list = interfaces();
  for (const auto* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if ((entry->ifa_flags & IFF_LOOPBACK) != 0 || address_of(*entry) != from) continue;
    if (address == from) return {};
    return LocalRoute{from, {entry->ifa_name, ::if_nametoindex(entry->ifa_name)}};
  }
  return {};
}

std::vector<IpAddress> local_addresses() {
  std::vector<IpAddress> found;
  const auto list = interfaces();
  for (const auto* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (const auto address = address_of(*entry)) found.push_back(*address);
  }
  return found;
}

}  // namespace epif::leak
