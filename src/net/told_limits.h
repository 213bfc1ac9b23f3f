#pragma once
#include <boost/json/fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "net/limiter.h"

/// The words in which a process tells its successor what its clients hold against the limits; each is one message of JSON with one outer
/// key. Pure.
namespace epif::net {

struct ToldCounts {
  std::string of;      ///< whose counts they are: a limiter's name in its program
  Limiter::Held held;  ///< of sources and routes that are named; the others have not changed
};
struct ToldRates {
  std::string of;
  Limiter::Rates rates;
};
using ToldLimits = std::variant<ToldCounts, ToldRates>;

inline constexpr std::string_view told_counts_key = "counts";
inline constexpr std::string_view told_rates_key = "rates";

[[nodiscard]] std::vector<std::string> print_counts(std::string_view of, const Limiter::Held& held);
[[nodiscard]] std::vector<std::string> print_rates(std::string_view of, const Limiter::Rates& rates);
/// What stands under `key` in a message. Empty: it is another's key, or it breaks the format.
[[nodiscard]] std::optional<ToldLimits> read_limits(std::string_view key, const boost::json::value& inner);
/// A message that is about limits only. Errors: protocol, which never quotes it.
[[nodiscard]] Result<ToldLimits> parse_limits(std::string_view text);

/// What has changed since `before`; what is held no more is there with nothing.
[[nodiscard]] Limiter::Held changes(const Limiter::Held& before, const Limiter::Held& now);

}  // namespace epif::net
