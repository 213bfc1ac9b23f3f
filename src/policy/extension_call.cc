#include <fmt/format.h>

#include <limits>
#include <map>

#include "policy/extension.h"

namespace epif::policy {
namespace {

using Arguments = std::span<const Value>;
using Function = Result<Value> (*)(Arguments);

struct Entry {
  std::size_t arguments;  ///< receiver included
  Function call;
};

std::unexpected<Error> wrong_type(std::string_view expected, const Value& found) {
  return fail(Code::invalid_input,
              fmt::format("expected a value of type {}, found {} {}", expected, found.type_name(), found.text()));
}

template <class T>
constexpr std::string_view cedar_name = "string";
template <>
constexpr std::string_view cedar_name<Decimal> = "decimal";
template <>
constexpr std::string_view cedar_name<IpRange> = "ipaddr";
template <>
constexpr std::string_view cedar_name<Datetime> = "datetime";
template <>
constexpr std::string_view cedar_name<Duration> = "duration";

/// A constructor from text.
template <class T, Result<T> (*parse)(std::string_view)>
Result<Value> construct(Arguments arguments) {
  const auto* text = arguments[0].get<std::string>();
  if (text == nullptr) return wrong_type("string", arguments[0]);
  auto value = parse(*text);
  if (!value) return fail(std::move(value.error()));
  return Value(*value);
}

/// A method without arguments whose result is `compute(receiver)`, of a type that a Value takes.
template <class T, auto compute>
Result<Value> unary(Arguments arguments) {
  const auto* receiver = arguments[0].get<T>();
  if (receiver == nullptr) return wrong_type(cedar_name<T>, arguments[0]);
  return Value(compute(*receiver));
}

template <class A, class B, auto compute>
Result<Value> binary(Arguments arguments) {
  const auto* a = arguments[0].get<A>();
  const auto* b = arguments[1].get<B>();
  if (a == nullptr) return wrong_type(cedar_name<A>, arguments[0]);
  if (b == nullptr) return wrong_type(cedar_name<B>, arguments[1]);
  return compute(*a, *b);
}

std::uint8_t byte_at(const IpRange& range, std::size_t index) {
  return range.address.bytes()[index];
}

bool is_loopback(const IpRange& range) {
  if (range.address.is_v4()) return byte_at(range, 0) == 127 && range.prefix >= 8;
  for (std::size_t i = 0; i < 15; ++i) {
    if (byte_at(range, i) != 0) return false;
  }
  return byte_at(range, 15) == 1 && range.prefix == 128;
}

bool is_multicast(const IpRange& range) {
  if (range.address.is_v4()) return (byte_at(range, 0) & 0xf0) == 0xe0 && range.prefix >= 4;
  return byte_at(range, 0) == 0xff && range.prefix >= 8;
}

Result<Value> is_in_range(const IpRange& inner, const IpRange& outer) {
  if (inner.address.is_v4() != outer.address.is_v4() || inner.prefix < outer.prefix) return Value(false);
  for (std::size_t bit = 0; bit < outer.prefix; ++bit) {
    const auto mask = 0x80 >> (bit % 8);
    if ((byte_at(inner, bit / 8) & mask) != (byte_at(outer, bit / 8) & mask)) return Value(false);
  }
  return Value(true);
}

constexpr std::int64_t ms_per_day = 86'400'000;

/// The day of `time`, rounded down also before 1970. The first day that 64 bits can hold is cut off: an error.
Result<Value> to_date(Arguments arguments) {
  const auto* time = arguments[0].get<Datetime>();
  if (time == nullptr) return wrong_type("datetime", arguments[0]);
  auto days = time->unix_ms / ms_per_day;
  if (time->unix_ms % ms_per_day < 0) --days;
  std::int64_t ms = 0;
  if (__builtin_mul_overflow(days, ms_per_day, &ms)) return fail(Code::invalid_input, "the date does not fit in 64 bits");
  return Value(Datetime{ms});
}

Duration to_time(const Datetime& time) {
  return {((time.unix_ms % ms_per_day) + ms_per_day) % ms_per_day};
}

Result<Value> offset(const Datetime& time, const Duration& by) {
  std::int64_t ms = 0;
  if (__builtin_add_overflow(time.unix_ms, by.ms, &ms))
    return fail(Code::invalid_input, "the datetime does not fit in 64 bits");
  return Value(Datetime{ms});
}

Result<Value> duration_since(const Datetime& later, const Datetime& earlier) {
  std::int64_t ms = 0;
  if (__builtin_sub_overflow(later.unix_ms, earlier.unix_ms, &ms)) {
    return fail(Code::invalid_input, "the duration does not fit in 64 bits");
  }
  return Value(Duration{ms});
}

template <std::int64_t unit>
std::int64_t whole(const Duration& duration) {
  return duration.ms / unit;
}

const std::map<std::string_view, Entry>& table() {
  static const std::map<std::string_view, Entry> functions = {
      {"ip", {1, construct<IpRange, parse_ip>}},
      {"decimal", {1, construct<Decimal, parse_decimal>}},
      {"datetime", {1, construct<Datetime, parse_datetime>}},
      {"duration", {1, construct<Duration, parse_duration>}},
      {"isIpv4", {1, unary<IpRange, [](const IpRange& range) { return range.address.is_v4(); }>}},
      {"isIpv6", {1, unary<IpRange, [](const IpRange& range) { return range.address.is_v6(); }>}},
      {"isLoopback", {1, unary<IpRange, is_loopback>}},
      {"isMulticast", {1, unary<IpRange, is_multicast>}},
      {"isInRange", {2, binary<IpRange, IpRange, is_in_range>}},
      {"lessThan",
       {2, binary<Decimal, Decimal, [](const Decimal& a, const Decimal& b) -> Result<Value> { return Value(a < b); }>}},
      {"lessThanOrEqual",
       {2, binary<Decimal, Decimal, [](const Decimal& a, const Decimal& b) -> Result<Value> { return Value(a <= b); }>}},
      {"greaterThan",
       {2, binary<Decimal, Decimal, [](const Decimal& a, const Decimal& b) -> Result<Value> { return Value(a > b); }>}},
      {"greaterThanOrEqual",
       {2, binary<Decimal, Decimal, [](const Decimal& a, const Decimal& b) -> Result<Value> { return Value(a >= b); }>}},
      {"offset", {2, binary<Datetime, Duration, offset>}},
      {"durationSince", {2, binary<Datetime, Datetime, duration_since>}},
      {"toDate", {1, to_date}},
      {"toTime", {1, unary<Datetime, to_time>}},
      {"toMilliseconds", {1, unary<Duration, whole<1>>}},
      {"toSeconds", {1, unary<Duration, whole<1'000>>}},
      {"toMinutes", {1, unary<Duration, whole<60'000>>}},
      {"toHours", {1, unary<Duration, whole<3'600'000>>}},
      {"toDays", {1, unary<Duration, whole<ms_per_day>>}},
  };
  return functions;
}

}  // namespace

Result<Value> call_extension(std::string_view function, std::span<const Value> arguments) {
  const auto entry = table().find(function);
  if (entry == table().end()) return fail(Code::invalid_input, fmt::format("unknown function {}", quoted(function)));
  if (entry->second.arguments != arguments.size()) {
    return fail(Code::invalid_input, fmt::format("{} takes {} values, the one before the point included, and got {}",
                                                 function, entry->second.arguments, arguments.size()));
  }
  return entry->second.call(arguments);
}

}  // namespace epif::policy
