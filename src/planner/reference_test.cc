#include "planner/reference.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

namespace epif::planner::reference {
namespace {

const Function& function(const Question& question, const std::string& name) {
  return *std::find_if(question.functions.begin(), question.functions.end(),
                       [&](const Function& candidate) { return candidate.name == name; });
}

bool second_half(const Question& question, const std::string& name) {
  return std::any_of(question.functions.begin(), question.functions.end(),
                     [&](const Function& candidate) { return candidate.pair == name; });
}

bool two(const Question& question) {
  return question.source_proxy != 0 && question.destination_proxy != 0 &&
         question.source_proxy != question.destination_proxy;
}

bool placeable(const Question& question, const Function& candidate) {
  if (!candidate.pair.empty()) return two(question);
  if (candidate.place == 1) return question.source_proxy != 0;
  if (candidate.place == 2) return question.destination_proxy != 0;
  return question.source_proxy != 0 || question.destination_proxy != 0;
}

bool arrangeable_from(const Question& question, std::vector<std::string> left, std::vector<Placed> chain) {
  if (left.empty()) return lawful(question, chain);
  for (std::size_t at = 0; at < left.size(); ++at) {
    auto rest = left;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(at));
    for (const int side : {1, 2}) {
      chain.push_back({left[at], side});
      if (arrangeable_from(question, rest, chain)) return true;
      chain.pop_back();
    }
  }
  return false;
}

}  // namespace

bool lawful(const Question& question, const std::vector<Placed>& chain) {
  for (std::size_t at = 0; at < chain.size(); ++at) {
    const auto& [name, side] = chain[at];
    const auto& here = function(question, name);
    if (side == 1 ? question.source_proxy == 0 : question.destination_proxy == 0) return false;
    // One proxy at both ends is one place.
    const bool one_place = question.source_proxy == question.destination_proxy;
    if (!one_place && at > 0 && chain[at - 1].side > side) return false;
    if (!here.pair.empty() && side != 1) return false;
    if (second_half(question, name) && side != 2) return false;
    if (here.pair.empty() && !second_half(question, name) && !one_place && here.place != 0 && here.place != side)
      return false;
    for (std::size_t later = at + 1; later < chain.size(); ++later) {
      if (here.after.contains(chain[later].function)) return false;
      if (function(question, chain[later].function).pair == name) return false;
    }
  }
  return true;
}

Answer answer(const Question& question) {
  Answer made;
  std::set_difference(question.source.begin(), question.source.end(), question.destination.begin(),
                      question.destination.end(), std::inserter(made.gap, made.gap.end()));
  if (made.gap.empty()) {
    made.verdict = "supported";
    return made;
  }
  std::vector<const Function*> units;
  made.missing = made.gap;
  for (const auto& candidate : question.functions) {
    if (second_half(question, candidate.name) || !placeable(question, candidate)) continue;
    units.push_back(&candidate);
    for (const auto& attribute : candidate.provides) made.missing.erase(attribute);
  }
  if (!made.missing.empty()) {
    made.verdict = "unfeasible";
    return made;
  }
  using Rank = std::tuple<std::uint64_t, std::size_t, std::vector<std::string>>;
  std::optional<Rank> best;
  for (std::uint32_t subset = 1; subset < (1u << units.size()); ++subset) {
    std::set<std::string> covered;
    std::set<std::string> names;
    std::vector<std::string> firsts;
    std::uint64_t cost = 0;
    for (std::size_t at = 0; at < units.size(); ++at) {
      if (((subset >> at) & 1) == 0) continue;
      covered.insert(units[at]->provides.begin(), units[at]->provides.end());
      firsts.push_back(units[at]->name);
      for (const auto* half = units[at]; half; half = half->pair.empty() ? nullptr : &function(question, half->pair)) {
        names.insert(half->name);
        cost += half->setup_us + half->per_gib_us * question.gib;
      }
    }
    if (!std::includes(covered.begin(), covered.end(), made.gap.begin(), made.gap.end())) continue;
    const Rank rank{cost, names.size(), firsts};
    if (best && !(rank < *best)) continue;
    if (!arrangeable_from(question, {names.begin(), names.end()}, {})) continue;
    best = rank;
    made.chosen = names;
    made.cost_us = cost;
  }
  made.verdict = best ? "bridged" : "unfeasible";
  return made;
}

}  // namespace epif::planner::reference
