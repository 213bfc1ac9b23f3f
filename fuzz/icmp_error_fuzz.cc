#include <cstdlib>

#include "net/icmp_error.h"

/// What a router says, as the system wraps it: read within its bytes, told as the message is, and ending an attempt only by a type that
/// is an end (RFC 792, RFC 4443).
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace epif;
  const auto require = [](bool holds) {
    if (!holds) std::abort();
  };
  constexpr std::size_t head = 16;  // struct sock_extended_err: error, then origin, type and code
  const ByteSpan report(data, size);
  const SocketAddress destination{IpAddress::v4(Bytes{10, 2, 0, 20}), 80};
  const auto met = net::read_icmp_error(report, destination);
  if (size < head) {
    require(!met);
    return 0;
  }
  const auto origin = data[4];
  require(met.has_value() == (origin == 2 || origin == 3));
  if (!met) return 0;
  require(met->destination == destination && met->six == (origin == 3) && met->type == data[5] && met->code == data[6]);
  require(!met->reporter.is_v6() || size >= head + 24);
  if (const auto end = net::ends_attempt(*met)) {
    require(met->six ? met->type == 1 || met->type == 3 : met->type == 3 || met->type == 11);
    require(*end == Code::net_unreachable || *end == Code::host_unreachable || *end == Code::refused || *end == Code::ttl_expired);
  }
  return 0;
}
