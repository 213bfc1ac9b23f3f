#include "model/quantity.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace epif {
namespace {

/// Ten years and one EiB: far beyond use, and small enough that costs add up exactly in 128 bits.
constexpr std::uint64_t max_micros = 10ull * 366 * 24 * 3'600 * 1'000'000;
constexpr std::uint64_t max_bytes = 1ull << 60;

struct Unit {
  std::string_view name;
  std::uint64_t scale;
};

constexpr std::array<Unit, 6> time_units{
    {{"us", 1}, {"ms", 1'000}, {"s", 1'000'000}, {"m", 60'000'000}, {"h", 3'600'000'000}, {"d", 86'400'000'000}}};
constexpr std::array<Unit, 13> byte_units{{{"B", 1},
                                           {"KiB", 1ull << 10},
                                           {"MiB", 1ull << 20},
                                           {"GiB", 1ull << 30},
                                           {"TiB", 1ull << 40},
                                           {"PiB", 1ull << 50},
                                           {"kB", 1'000},
                                           {"KB", 1'000},
                                           {"MB", 1'000'000},
                                           {"GB", 1'000'000'000},
                                           {"TB", 1'000'000'000'000},
                                           {"PB", 1'000'000'000'000'000},
                                           {"", 1}}};

/// "12.5" as whole and millionths; nothing else than digits and one point.
struct Decimal {
  std::uint64_t whole = 0;
  std::uint64_t micro = 0;  ///< digits after the sixth only round
};

std::optional<Decimal> parse_decimal(std::string_view text) {
  const auto point = text.find('.');
  const auto digits = text.substr(0, point);
  Decimal value;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value.whole);
  if (digits.empty() || failure != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  if (point == std::string_view::npos) return value;
  const auto fraction = text.substr(point + 1);
  if (fraction.empty() || fraction.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  std::uint64_t scale = 100'000;
  for (const char digit : fraction.substr(0, 6)) {
    value.micro += static_cast<std::uint64_t>(digit - '0') * scale;
    scale /= 10;
  }
  if (fraction.size() > 6 && fraction[6] >= '5') ++value.micro;
  return value;
}

/// value x scale, rounded to the nearest; nothing above `most`.
std::optional<std::uint64_t> scaled(const Decimal& value, std::uint64_t scale, std::uint64_t most) {
  if (value.whole > most / scale) return std::nullopt;
  // Halves of `scale` stay exact: scale is at most 2^50 and micro at most 10^6, so the product is below 2^70.
  const auto whole_part = value.micro * (scale / 1'000'000);
  const auto rest = value.micro * (scale % 1'000'000);
  const auto sum = value.whole * scale + whole_part + (rest + 500'000) / 1'000'000;
  if (sum > most) return std::nullopt;
  return sum;
}

std::size_t unit_begin(std::string_view text) {
  const auto at = text.find_first_not_of("0123456789.");
  return at == std::string_view::npos ? text.size() : at;
}

/// "2027-12-31": every field is digits of fixed width.
std::optional<unsigned> digits_at(std::string_view text, std::size_t at, std::size_t width) {
  if (text.size() < at + width) return std::nullopt;
  unsigned value = 0;
  for (const char digit : text.substr(at, width)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(digit - '0');
  }
  return value;
}

std::optional<std::chrono::sys_seconds> parse_instant(std::string_view text) {
  const auto year = digits_at(text, 0, 4);
  const auto month = digits_at(text, 5, 2);
  const auto day = digits_at(text, 8, 2);
  if (!year || !month || !day || text[4] != '-' || text[7] != '-') return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)), std::chrono::month(*month),
                                         std::chrono::day(*day)};
  if (!date.ok()) return std::nullopt;
  const std::chrono::sys_seconds midnight = std::chrono::sys_days(date);
  if (text.size() == 10) return midnight;
  const auto hour = digits_at(text, 11, 2);
  const auto minute = digits_at(text, 14, 2);
  const auto second = digits_at(text, 17, 2);
  if (!hour || !minute || !second || text.size() != 20) return std::nullopt;
  if (text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z') return std::nullopt;
  if (*hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  return midnight + std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(*second);
}

}  // namespace

Result<std::chrono::microseconds> parse_duration(std::string_view text) {
  const auto at = unit_begin(text);
  const auto value = parse_decimal(text.substr(0, at));
  const auto name = text.substr(at);
  if (value && name.empty() && value->whole == 0 && value->micro == 0) return std::chrono::microseconds(0);
  for (const auto& unit : time_units) {
    if (!value || unit.name != name) continue;
    const auto micros = scaled(*value, unit.scale, max_micros);
    if (!micros) return fail(Code::invalid_input, fmt::format("'{}' is too long a time", text), {}, "at most ten years");
    return std::chrono::microseconds(static_cast<std::int64_t>(*micros));
  }
  return fail(Code::invalid_input, fmt::format("'{}' is not a duration", text), {}, {},
              "write a number with a unit: 250us, 300ms, 0.4s, 5m, 2h, 1d");
}

std::string print_duration(std::chrono::microseconds duration) {
  const auto micros = static_cast<std::uint64_t>(duration.count());
  if (micros == 0) return "0s";
  for (auto unit = time_units.rbegin(); unit != time_units.rend(); ++unit) {
    if (micros % unit->scale == 0) return fmt::format("{}{}", micros / unit->scale, unit->name);
  }
  return fmt::format("{}us", micros);
}

Result<std::uint64_t> parse_volume(std::string_view text) {
  const auto at = unit_begin(text);
  const auto value = parse_decimal(text.substr(0, at));
  const auto name = text.substr(at);
  for (const auto& unit : byte_units) {
    if (!value || unit.name != name) continue;
    const auto bytes = scaled(*value, unit.scale, max_bytes);
    if (!bytes) return fail(Code::invalid_input, fmt::format("'{}' is too large a volume", text), {}, "at most 1 EiB");
    return *bytes;
  }
  return fail(Code::invalid_input, fmt::format("'{}' is not a volume", text), {}, {},
              "write a number with a unit: 500MB, 2GiB, or bytes without a unit");
}

std::string print_volume(std::uint64_t bytes) {
  if (bytes == 0) return "0B";
  for (std::size_t at = 6; at-- > 0;) {
    if (bytes % byte_units[at].scale == 0) return fmt::format("{}{}", bytes / byte_units[at].scale, byte_units[at].name);
  }
  return fmt::format("{}B", bytes);
}

Result<std::chrono::sys_seconds> parse_time(std::string_view text) {
  if (const auto instant = parse_instant(text)) return *instant;
  return fail(Code::invalid_input, fmt::format("'{}' is not a time", text), {}, {},
              "write a date, 2027-12-31, or a UTC time, 2027-12-31T08:00:00Z");
}

std::string print_time(std::chrono::sys_seconds time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  auto text = fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                          static_cast<unsigned>(date.day()));
  const std::chrono::hh_mm_ss clock(time - day);
  if (time == std::chrono::sys_seconds(day)) return text;
  return text + fmt::format("T{:02}:{:02}:{:02}Z", clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

}  // namespace epif
