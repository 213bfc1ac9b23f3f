#pragma once
#include <cstdint>
#include <string_view>

namespace epif {

/// A limit, timer or count as metrics tell it; the name lives as long as the program.
struct NamedValue {
  std::string_view name;
  std::uint64_t value;
};

}  // namespace epif
