#pragma once
#include <span>
#include <vector>

#include "base/named_value.h"
#include "redirect/forwarded.h"

namespace epif::redirect {

/// Limits and timers of the redirector that no flag changes, by their names in base/limits.h.
[[nodiscard]] std::span<const NamedValue> fixed_limits();

/// Of hosts that this node forwards for: the limits of all and of one, what all of them hold now, and what was refused them for which limit.
/// `shed_by_threads`: connections beyond a thread's part for all of them.
[[nodiscard]] std::vector<NamedValue> source_limits(const Forwarded::State& state);
[[nodiscard]] std::vector<NamedValue> held_for_sources(const Forwarded::State& state);
[[nodiscard]] std::vector<NamedValue> shed_for_sources(const Forwarded::State& state, std::uint64_t shed_by_threads);

}  // namespace epif::redirect
