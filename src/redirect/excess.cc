#include "redirect/excess.h"

#include <utility>

#include "base/limits.h"

namespace epif::redirect {

std::optional<std::uint64_t> Excess::tell(bool of_this_node, net::TimePoint now) {
  auto& kind = kinds_[of_this_node ? 1 : 0];
  if (kind.told && now < *kind.told + std::chrono::milliseconds(limits::excess_told_ms)) {
    ++kind.untold;
    return {};
  }
  kind.told = now;
  return std::exchange(kind.untold, 0);
}

}  // namespace epif::redirect
