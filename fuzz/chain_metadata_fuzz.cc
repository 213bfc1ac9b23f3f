// What a socksx client says about the proxies on its way: no crash, and only links that the route or the connection proves are confirmed.
// The first byte says whether the route goes on to a proxy, and by which family the client came; the rest is its request.
#include <algorithm>
#include <cstdlib>

#include "admission/chain_metadata.h"
#include "socks/socksx.h"

using namespace epif;

namespace {

constexpr std::string_view scheme = "socks6://";
constexpr std::string_view root = "socks6://root:1080";
constexpr std::size_t longest = 4;  // root, the client, this proxy, the next one

std::string link_to(const char* address) { return std::string(scheme) + address; }

bool is_at(std::string_view link, const IpAddress& ip) {
  const auto address = link.starts_with(scheme) ? SocketAddress::parse(link.substr(scheme.size())) : SocketAddress::parse("");
  return address && address->ip.unmapped() == ip.unmapped();
}

void check(const admission::ChainMetadata& chain, bool goes_on, bool v6) {
  const auto* here = v6 ? "[fd01::2]:1080" : "10.1.0.2:1080";
  const auto* next = v6 ? "[fd03::2]:1080" : "10.3.0.2:1080";
  const admission::Leg leg{SocketAddress::parse(here).value(), IpAddress::parse(v6 ? "fd01::10" : "10.1.0.10").value()};
  Route route;
  route.id = "r";
  if (goes_on) route.next = NextHop{SocketAddress::parse(next).value(), {}, {}, Dialect::socksx};
  const auto confirmed = admission::confirm(chain, route, leg);
  if (!confirmed) {
    if (confirmed.error().code != Code::denied || confirmed.error().why.empty()) std::abort();
    return;
  }
  const auto behind = chain.links.size() - chain.index - 1;
  if (chain.links.size() > longest || behind != (goes_on ? 1 : 0)) std::abort();
  if (goes_on && chain.links.back() != link_to(next)) std::abort();
  if (chain.links[chain.index] != link_to(here) && (chain.index != 0 || chain.links[0] != root)) std::abort();
  if (chain.index > 0 && chain.links[0] != root) std::abort();
  if (chain.index == 2 && !is_at(chain.links[1], leg.client)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto decoded = socksx::decode_request(ByteSpan(data + 1, size - 1));
  const auto* request = socks::done(decoded);
  if (request == nullptr || !request->message.chain) return 0;
  const auto& chain = *request->message.chain;
  check({chain.index, {chain.links.begin(), chain.links.end()}}, (data[0] & 1) != 0, (data[0] & 2) != 0);
  return 0;
}
