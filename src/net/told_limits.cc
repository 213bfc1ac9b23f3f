#include "net/told_limits.h"

#include <cmath>

#include "net/told_lists.h"

namespace epif::net {
namespace {

namespace json = boost::json;

constexpr std::string_view of_key = "of";
constexpr std::string_view all_key = "all";
constexpr std::string_view sources_key = "sources";
constexpr std::string_view routes_key = "routes";

/// More than any process holds: what is added to it must not run over.
constexpr std::uint64_t count_most = 1U << 24;
constexpr std::uint64_t memory_most = std::uint64_t{1} << 40;

std::optional<std::string> name_in(const json::object& object) {
  const auto* value = object.if_contains(of_key);
  const auto* name = value != nullptr ? value->if_string() : nullptr;
  if (name == nullptr) return std::nullopt;
  return std::string(*name);
}

std::optional<ToldLimits> read_counts(const json::object& object) {
  auto of = name_in(object);
  if (!of) return std::nullopt;
  ToldCounts made{std::move(*of), {}};
  const bool good = for_each_told(object, sources_key, [&](ToldItem& item) {
    auto& load = made.held.sources[item.address()];
    load.connections = static_cast<std::uint32_t>(item.count(count_most));
    load.handshakes = static_cast<std::uint32_t>(item.count(count_most));
    load.memory = item.count(memory_most);
  }) && for_each_told(object, routes_key, [&](ToldItem& item) {
    auto route = item.text();
    made.held.routes[std::move(route)] = static_cast<std::uint32_t>(item.count(count_most));
  });
  if (!good) return std::nullopt;
  return made;
}

std::optional<ToldLimits> read_rates(const json::object& object) {
  auto of = name_in(object);
  const auto* all = object.if_contains(all_key);
  const auto left = all != nullptr ? json::try_value_to<double>(*all) : json::result<double>(json::error::not_number);
  if (!of || !left || !std::isfinite(*left)) return std::nullopt;
  ToldRates made{std::move(*of), {*left, {}}};
  const bool good = for_each_told(object, sources_key, [&](ToldItem& item) {
    const auto address = item.address();
    made.rates.sources[address] = item.real();
  });
  if (!good) return std::nullopt;
  return made;
}

}  // namespace

std::vector<std::string> print_counts(std::string_view of, const Limiter::Held& held) {
  ToldPages pages(told_counts_key, {{of_key, of}});
  for (const auto& [address, load] : held.sources) pages.add(sources_key, {address.text(), load.connections, load.handshakes, load.memory});
  for (const auto& [route, count] : held.routes) pages.add(routes_key, {route, count});
  return pages.take();
}

std::vector<std::string> print_rates(std::string_view of, const Limiter::Rates& rates) {
  ToldPages pages(told_rates_key, {{of_key, of}, {all_key, rates.all}});
  for (const auto& [address, left] : rates.sources) pages.add(sources_key, {address.text(), left});
  return pages.take();
}

std::optional<ToldLimits> read_limits(std::string_view key, const json::value& inner) {
  const auto* object = inner.if_object();
  if (object == nullptr) return std::nullopt;
  if (key == told_counts_key) return read_counts(*object);
  if (key == told_rates_key) return read_rates(*object);
  return std::nullopt;
}

Result<ToldLimits> parse_limits(std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error, {}, {.max_depth = 8});
  const auto* object = error ? nullptr : value.if_object();
  std::optional<ToldLimits> made;
  if (object != nullptr && object->size() == 1) made = read_limits(object->begin()->key(), object->begin()->value());
  if (!made) return fail(Code::protocol, "what the old process tells of its limits is not understood");
  return std::move(*made);
}

Limiter::Held changes(const Limiter::Held& before, const Limiter::Held& now) {
  Limiter::Held made;
  const auto compare = [](const auto& old, const auto& fresh, auto& out) {
    for (const auto& [key, value] : fresh) {
      const auto found = old.find(key);
      if (found == old.end() || found->second != value) out.emplace(key, value);
    }
    for (const auto& [key, value] : old) {
      if (!fresh.contains(key)) out.emplace(key, std::remove_cvref_t<decltype(value)>{});
    }
  };
  compare(before.sources, now.sources, made.sources);
  compare(before.routes, now.routes, made.routes);
  return made;
}

}  // namespace epif::net
