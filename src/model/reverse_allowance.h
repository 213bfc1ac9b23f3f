#pragma once
#include "base/limits.h"
#include "model/route.h"

namespace epif {

/// How many bytes the direction that carries no data may hold when the other has carried `forward`: the route's own number, or
/// the larger of 1 MiB and 5 % of the other direction (interface.md).
[[nodiscard]] inline std::uint64_t reverse_allowance(const Route& route, std::uint64_t forward) {
  if (route.limits.reverse_bytes != 0) return route.limits.reverse_bytes;
  return std::max<std::uint64_t>(limits::reverse_bytes_min, forward / 100 * limits::reverse_percent);
}

}  // namespace epif
