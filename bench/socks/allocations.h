#pragma once
#include <cstdint>

/// How often this program has asked for memory. The operators stand in a file of their own, where they cannot be inlined.
[[nodiscard]] std::uint64_t allocations();
