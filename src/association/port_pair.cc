#include "association/port_pair.h"

#include "base/limits.h"
#include "net/tcp.h"

namespace epif::association {

bool has_parity(std::uint16_t port, std::uint8_t parity) { return parity == 0 || (parity == 2) == (port % 2 == 1); }

Result<Fd> bind_either_family(const SocketAddress& at, const Bind& bind) {
  if (!at.ip.is_any()) return bind(at);
  const std::array<std::uint8_t, 16> zeros{};
  auto bound = bind({IpAddress::v6(zeros), at.port});
  if (!bound && bound.error().code != Code::address_in_use) return bind({IpAddress{}, at.port});
  return bound;
}

Result<PortPair> bind_with_parity(const IpAddress& ip, const socks6::PortParity& wish, const Bind& bind) {
  PortPair best;
  bool has_best_parity = false;
  for (unsigned attempt = 0; attempt < limits::udp_parity_attempts; ++attempt) {
    auto made = bind_either_family({ip, 0}, bind);
    if (!made && best.socket) break;
    if (!made) return fail(std::move(made.error()));
    const auto at = net::local_address(made->get());
    const bool met = has_parity(at.port, wish.parity);
    if (met && !wish.reserve) return PortPair{std::move(*made)};
    if (met) {
      // Of the family that the first socket has: a counterpart of the other one keeps nothing.
      if (auto kept = bind({at.ip, static_cast<std::uint16_t>(at.port ^ 1)})) return PortPair{std::move(*made), std::move(*kept)};
    }
    if (best.socket && (has_best_parity || !met)) continue;
    best.socket = std::move(*made);
    has_best_parity = met;
  }
  return best;
}

}  // namespace epif::association
