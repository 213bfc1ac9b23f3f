#pragma once
#include <span>
#include <string_view>

#include "base/error.h"
#include "policy/value.h"

/// Cedar's extension types (Cedar RFC 80 for datetime and duration). Errors are `invalid_input`, without a place.
namespace epif::policy {

[[nodiscard]] Result<Decimal> parse_decimal(std::string_view text);    ///< "-12.3456": 1 to 4 digits after the point
[[nodiscard]] Result<IpRange> parse_ip(std::string_view text);         ///< "10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"
[[nodiscard]] Result<Datetime> parse_datetime(std::string_view text);  ///< "2026-01-31", with "T10:00:00[.123](Z|+0100)"
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);  ///< "-1d2h3m4s5ms", each part once, in this order

/// Calls a constructor (ip, decimal, datetime, duration) or a method (isIpv4, lessThan, offset, ...) of an extension type;
/// the receiver is arguments[0]. Wrong count or types of arguments and overflow are errors.
[[nodiscard]] Result<Value> call_extension(std::string_view function, std::span<const Value> arguments);

}  // namespace epif::policy
