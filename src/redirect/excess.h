#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "net/loop.h"

namespace epif::redirect {

/// Which refusals for a limit are told. Who floods is not to fill the log, nor to push all others out of the latest refusals; but that
/// there is excess now, and who was refused, must be seen. So one is told in limits::excess_told_ms, and the node's own programs and
/// the hosts that it forwards for count apart: what one side has too much of hides nothing of the other.
class Excess {
 public:
  /// If this one is to be told: how many of its kind were not since the last one that was.
  [[nodiscard]] std::optional<std::uint64_t> tell(bool of_this_node, net::TimePoint now);

 private:
  struct Kind {
    std::optional<net::TimePoint> told;
    std::uint64_t untold = 0;
  };
  std::array<Kind, 2> kinds_;
};

}  // namespace epif::redirect
