#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>

#include "policy/extension.h"

namespace epif::policy {
namespace {

constexpr std::int64_t ms_per_second = 1'000;
constexpr std::int64_t ms_per_minute = 60 * ms_per_second;
constexpr std::int64_t ms_per_hour = 60 * ms_per_minute;
constexpr std::int64_t ms_per_day = 24 * ms_per_hour;

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<std::uint64_t> number(std::string_view digits) {
  std::uint64_t value = 0;
  if (!all_digits(digits)) return std::nullopt;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (status != std::errc{}) return std::nullopt;
  return value;
}

/// `negative` ? -magnitude : magnitude, if that fits.
std::optional<std::int64_t> with_sign(std::uint64_t magnitude, bool negative) {
  const auto highest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) + (negative ? 1 : 0);
  if (magnitude > highest) return std::nullopt;
  return static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
}

std::unexpected<Error> malformed(std::string_view type, std::string_view text, std::string advice) {
  return fail(Code::invalid_input, fmt::format("{} is no {}", quoted(text.substr(0, 80)), type), {}, {}, std::move(advice));
}

/// Two or more digits at `at`, of a fixed count, or nothing.
std::optional<std::int64_t> field(std::string_view text, std::size_t at, std::size_t digits) {
  if (at + digits > text.size()) return std::nullopt;
  const auto value = number(text.substr(at, digits));
  if (!value) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

/// Days since 1970-01-01 of a date that exists, in the Gregorian calendar.
std::optional<std::int64_t> days_of(std::string_view date) {
  const auto year = field(date, 0, 4);
  const auto month = field(date, 5, 2);
  const auto day = field(date, 8, 2);
  if (date.size() != 10 || date[4] != '-' || date[7] != '-' || !year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day calendar{std::chrono::year(static_cast<int>(*year)),
                                             std::chrono::month(static_cast<unsigned>(*month)),
                                             std::chrono::day(static_cast<unsigned>(*day))};
  if (!calendar.ok()) return std::nullopt;
  return std::chrono::sys_days(calendar).time_since_epoch().count();
}

/// Milliseconds of "T10:00:00", "T10:00:00.123", then "Z" or an offset from UTC such as "+0100".
std::optional<std::int64_t> ms_of_time(std::string_view time) {
  const auto hour = field(time, 1, 2);
  const auto minute = field(time, 4, 2);
  const auto second = field(time, 7, 2);
  if (time.size() < 10 || time[0] != 'T' || time[3] != ':' || time[6] != ':' || !hour || !minute || !second)
    return std::nullopt;
  if (*hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  auto ms = *hour * ms_per_hour + *minute * ms_per_minute + *second * ms_per_second;
  auto rest = time.substr(9);
  if (rest[0] == '.') {
    const auto fraction = field(rest, 1, 3);
    if (!fraction) return std::nullopt;
    ms += *fraction;
    rest.remove_prefix(4);
  }
  if (rest == "Z") return ms;
  if (rest.size() != 5 || (rest[0] != '+' && rest[0] != '-')) return std::nullopt;
  const auto offset_hour = field(rest, 1, 2);
  const auto offset_minute = field(rest, 3, 2);
  if (!offset_hour || !offset_minute || *offset_hour > 23 || *offset_minute > 59) return std::nullopt;
  const auto offset = *offset_hour * ms_per_hour + *offset_minute * ms_per_minute;
  return rest[0] == '+' ? ms - offset : ms + offset;  // local time minus its offset is UTC
}

}  // namespace

Result<Decimal> parse_decimal(std::string_view text) {
  const auto error = [&] { return malformed("decimal", text, "write digits, a point, and one to four digits"); };
  auto rest = text;
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  const auto point = rest.find('.');
  if (point == std::string_view::npos) return error();
  const auto fraction = rest.substr(point + 1);
  const auto whole = number(rest.substr(0, point));
  auto digits = number(fraction);
  if (!whole || !digits || fraction.size() > 4) return error();
  for (auto count = fraction.size(); count < 4; ++count) *digits *= 10;
  std::uint64_t magnitude = 0;
  if (__builtin_mul_overflow(*whole, std::uint64_t{10'000}, &magnitude)) return error();
  if (__builtin_add_overflow(magnitude, *digits, &magnitude)) return error();
  const auto value = with_sign(magnitude, negative);
  if (!value) return error();
  return Decimal{*value};
}

Result<IpRange> parse_ip(std::string_view text) {
  const auto error = [&] { return malformed("ip address", text, "write 10.0.0.1, 10.0.0.0/8, ::1 or fd00::/8"); };
  const auto slash = text.find('/');
  const auto host = text.substr(0, slash);
  const bool six = host.find(':') != std::string_view::npos;
  if (six && host.find('.') != std::string_view::npos) return error();  // Cedar takes no embedded IPv4
  const auto address = IpAddress::parse(host);
  if (!address) return error();
  const std::uint64_t bits = address->is_v6() ? 128 : 32;
  if (slash == std::string_view::npos) return IpRange{*address, static_cast<std::uint8_t>(bits)};
  const auto digits = text.substr(slash + 1);
  const auto prefix = number(digits);
  if (!prefix || *prefix > bits || (digits.size() > 1 && digits[0] == '0')) return error();
  return IpRange{*address, static_cast<std::uint8_t>(*prefix)};
}

Result<Datetime> parse_datetime(std::string_view text) {
  const auto error = [&] {
    return malformed("datetime", text, "write 2026-01-31 or 2026-01-31T10:00:00Z, .123 and +0100 possible");
  };
  const auto days = days_of(text.substr(0, 10));
  if (!days) return error();
  if (text.size() == 10) return Datetime{*days * ms_per_day};
  const auto ms = ms_of_time(text.substr(10));
  if (!ms) return error();
  return Datetime{*days * ms_per_day + *ms};
}

Result<Duration> parse_duration(std::string_view text) {
  const auto error = [&] { return malformed("duration", text, "write for example 1d12h, 90s or -500ms"); };
  struct Unit {
    std::string_view name;
    std::int64_t ms;
  };
  static constexpr std::array<Unit, 5> units = {
      {{"d", ms_per_day}, {"h", ms_per_hour}, {"m", ms_per_minute}, {"s", ms_per_second}, {"ms", 1}}};
  auto rest = text;
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  if (rest.empty()) return error();
  std::uint64_t sum = 0;
  for (auto unit = units.begin(); !rest.empty(); ++unit) {
    const auto digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    const auto letters = rest.substr(digits, rest.find_first_of("0123456789", digits) - digits);
    while (unit != units.end() && unit->name != letters) ++unit;
    const auto count = number(rest.substr(0, digits));
    if (unit == units.end() || !count) return error();
    std::uint64_t ms = 0;
    if (__builtin_mul_overflow(*count, static_cast<std::uint64_t>(unit->ms), &ms)) return error();
    if (__builtin_add_overflow(sum, ms, &sum)) return error();
    rest.remove_prefix(digits + letters.size());
  }
  const auto value = with_sign(sum, negative);
  if (!value) return error();
  return Duration{*value};
}

}  // namespace epif::policy
