#include "admission/chain_metadata.h"

#include <cassert>
#include <string_view>

namespace epif::admission {
namespace {

constexpr std::string_view scheme = "socks6://";
constexpr std::string_view root = "socks6://root:1080";  // whoever made the chain: its own place in it, without an address
constexpr std::size_t furthest = 2;                      // root, the client, this proxy

std::string link_to(const SocketAddress& address) { return std::string(scheme) + SocketAddress{address.ip.unmapped(), address.port}.text(); }

/// At the client's address, whatever its port: it connects from another one than it listens at.
bool is_client(std::string_view link, const IpAddress& client) {
  if (!link.starts_with(scheme)) return false;
  const auto address = SocketAddress::parse(link.substr(scheme.size()));
  return address && address->ip.unmapped() == client.unmapped();
}

bool confirms(const ChainMetadata& chain, std::size_t at, const Route& route, const Leg& leg) {
  const std::string_view link = chain.links[at];
  if (at > chain.index) return at == chain.index + 1 && route.next && link == link_to(route.next->proxy);
  if (at == 0) return link == root || (chain.index == 0 && link == link_to(leg.here));
  if (at == chain.index) return link == link_to(leg.here);
  return at + 1 == chain.index && chain.index <= furthest && is_client(link, leg.client);
}

}  // namespace

Result<> confirm(const ChainMetadata& chain, const Route& route, const Leg& leg) {
  assert(chain.index < chain.links.size());
  const auto denied = [&](std::string why) { return fail(Code::denied, "the chain metadata is not the route's", std::move(why), "route " + route.id); };
  for (std::size_t at = 0; at < chain.links.size(); ++at) {
    if (!confirms(chain, at, route, leg)) return denied(chain.links[at]);
  }
  if (route.next && chain.index + 1 == chain.links.size()) return denied("no link to " + route.next->proxy.text());
  return {};
}

}  // namespace epif::admission
