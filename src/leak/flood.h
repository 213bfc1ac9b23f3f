#pragma once
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "leak/tap.h"

/// The guarded program of the moments: tries the same few ways over and over, so that a moment without rules would be seen.
namespace epif::leak {

/// Rounds that follow a request to stop (SIGTERM): a program may take its time.
inline constexpr int rounds_after_stop = 100;

enum class FloodTo { target, witness };
/// Sends rounds to one of the lab's addresses, frames by both its links, about a thousand rounds a second, until stdin ends or a
/// stop is asked for. Writes the number of rounds done to stdout, a line each 10 rounds; a reader that is slow misses some.
void flood(const std::string& token, FloodTo to);

/// What each round holds: "tcp/v4", "frame/v6" ...
[[nodiscard]] const std::set<std::string>& flood_kinds();
/// Which of them a packet is; empty if it is none. A connection is known by its destination, the others by the token.
[[nodiscard]] std::string flood_kind(const Leaving& packet, std::string_view token, FloodTo to = FloodTo::target);

}  // namespace epif::leak
