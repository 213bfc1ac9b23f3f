#pragma once
#include "base/limits.h"
#include "model/route.h"
#include "net/relay.h"

namespace epif::proxy {

/// How many bytes the direction that carries no data may hold when the other has carried `forward`: the route's own number, or
/// the larger of 1 MiB and 5 % of the other direction (interface.md).
[[nodiscard]] inline std::uint64_t reverse_allowance(const Route& route, std::uint64_t forward) {
  if (route.limits.reverse_bytes != 0) return route.limits.reverse_bytes;
  return std::max<std::uint64_t>(limits::reverse_bytes_min, forward / 100 * limits::reverse_percent);
}

[[nodiscard]] inline Error reverse_error(const Route& route) {
  return {Code::limit, "the direction that carries no data carried too much", route.id, {},
          "declare the flow's data as both, or raise its limit"};
}

/// Stands in the direction that carries no data.
class ReverseLimit final : public net::PumpGate {
 public:
  ReverseLimit(const Route& route, const net::Carried& forward) : route_(route), forward_(forward) {}
  Result<> before_bytes(const net::Carried& carried, std::size_t more) override {
    if (carried.bytes + more > reverse_allowance(route_, forward_.bytes)) return fail(reverse_error(route_));
    return {};
  }

 private:
  const Route& route_;
  const net::Carried& forward_;
};

}  // namespace epif::proxy
