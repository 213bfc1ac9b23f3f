#include "planner/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

namespace epif::planner {
namespace {

/// Members of one cycle in order, or nothing.
std::vector<std::size_t> find_cycle(const std::vector<std::vector<std::size_t>>& later) {
  enum class Mark : std::uint8_t { fresh, open, done };
  std::vector<Mark> marks(later.size(), Mark::fresh);
  struct Frame {
    std::size_t function;
    std::size_t next;
  };
  for (std::size_t start = 0; start < later.size(); ++start) {
    if (marks[start] != Mark::fresh) continue;
    std::vector<Frame> path{{start, 0}};
    marks[start] = Mark::open;
    while (!path.empty()) {
      auto& frame = path.back();
      if (frame.next == later[frame.function].size()) {
        marks[frame.function] = Mark::done;
        path.pop_back();
        continue;
      }
      const auto next = later[frame.function][frame.next++];
      if (marks[next] == Mark::open) {
        std::vector<std::size_t> cycle;
        const auto begin = std::ranges::find(path, next, &Frame::function);
        for (auto at = begin; at != path.end(); ++at) cycle.push_back(at->function);
        return cycle;
      }
      if (marks[next] == Mark::done) continue;
      marks[next] = Mark::open;
      path.push_back({next, 0});
    }
  }
  return {};
}

}  // namespace

Result<Catalog> Catalog::make(const ResourceSet& resources, const Landscape& landscape) {
  Catalog catalog;
  std::map<std::string_view, std::size_t> ids;
  std::set<std::string_view> second_halves;
  for (const auto& [full_name, function] : resources.functions) {
    ids.emplace(full_name, catalog.functions.size());
    catalog.functions.push_back(&function);
    if (!function.pair.empty()) second_halves.insert(function.pair);
  }
  std::vector<std::set<std::size_t>> later(catalog.functions.size());
  for (std::size_t at = 0; at < catalog.functions.size(); ++at) {
    const auto& function = *catalog.functions[at];
    for (const auto& other : function.before) later[at].insert(ids.at(other));
    for (const auto& other : function.after) later[ids.at(other)].insert(at);
    if (!function.pair.empty()) later[at].insert(ids.at(function.pair));
    if (second_halves.contains(function.metadata.name)) continue;
    Unit unit;
    unit.first = at;
    unit.provides = landscape.attributes(function.provides);
    unit.place = function.place;
    if (!function.pair.empty()) {
      unit.second = ids.at(function.pair);
      unit.provides |= landscape.attributes(catalog.functions[unit.second]->provides);
    }
    catalog.units.push_back(std::move(unit));
  }
  for (const auto& list : later) catalog.later.emplace_back(list.begin(), list.end());

  const auto cycle = find_cycle(catalog.later);
  if (cycle.empty()) return catalog;
  std::string words;
  for (const auto at : cycle) words += catalog.functions[at]->metadata.name + " before ";
  const auto& first = catalog.functions[cycle.front()]->metadata;
  return fail(Code::cycle, fmt::format("BridgingFunction '{}', spec.order: the order of bridging functions is a cycle: {}{}", first.name, words, first.name),
              first.origin.text(), {}, "remove one of these constraints");
}

Cost Catalog::cost(const Unit& unit, std::uint64_t volume) const {
  const auto one = [&](std::size_t at) {
    const auto& function = *functions[at];
    return (static_cast<Cost>(function.setup.count()) << 30) + static_cast<Cost>(function.per_gib.count()) * volume;
  };
  return one(unit.first) + (unit.is_pair() ? one(unit.second) : 0);
}

}  // namespace epif::planner
