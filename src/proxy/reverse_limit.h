#pragma once
#include "model/reverse_allowance.h"
#include "net/relay.h"

namespace epif::proxy {

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
