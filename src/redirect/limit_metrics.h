#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace epif::redirect {

/// A limit or timer of the redirector that no flag changes, under its name in base/limits.h.
struct FixedLimit {
  std::string_view name;
  std::uint64_t value;
};
[[nodiscard]] std::span<const FixedLimit> fixed_limits();

}  // namespace epif::redirect
