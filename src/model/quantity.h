#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

/// Quantities as people write them in resources. Negative values and values beyond 64 bits are errors.
namespace epif {

/// "300ms", "0.4s", "250us", "5m", "2h", "1d", or a bare 0. Anything finer than 1 us is rounded to the nearest.
[[nodiscard]] Result<std::chrono::microseconds> parse_duration(std::string_view text);
/// The shortest text that parses back to the same value: "300ms", "400ms", "2h", "1500us".
[[nodiscard]] std::string print_duration(std::chrono::microseconds duration);

/// Bytes: "2GiB", "500MB", "0.5TiB", "1024B", or a bare number of bytes. Binary units KiB..PiB, decimal kB/KB..PB.
[[nodiscard]] Result<std::uint64_t> parse_volume(std::string_view text);
/// The largest binary unit that divides the value: "2GiB", "500000000B".
[[nodiscard]] std::string print_volume(std::uint64_t bytes);

/// A point in time, UTC: "2027-12-31" (its first second, so that a consent is never used on the day it ends),
/// "2027-12-31T08:00:00Z".
[[nodiscard]] Result<std::chrono::sys_seconds> parse_time(std::string_view text);
/// "2027-12-31T08:00:00Z"; only the date at midnight.
[[nodiscard]] std::string print_time(std::chrono::sys_seconds time);

}  // namespace epif
