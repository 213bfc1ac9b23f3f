#include "planner/order.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <tuple>

namespace epif::planner {
namespace {

/// Pieces that must come after each piece: by the catalogue, and by standing at the two sides.
std::vector<std::vector<std::size_t>> successors(const Catalog& catalog, const std::vector<Piece>& pieces, Ends ends) {
  std::vector<std::vector<std::size_t>> after(pieces.size());
  for (std::size_t left = 0; left < pieces.size(); ++left) {
    const auto& later = catalog.later[pieces[left].function];
    for (std::size_t right = 0; right < pieces.size(); ++right) {
      const bool by_order = std::ranges::binary_search(later, pieces[right].function);
      const bool by_side = ends == Ends::two && pieces[left].hold == Hold::source && pieces[right].hold == Hold::destination;
      if (left != right && (by_order || by_side)) after[left].push_back(right);
    }
  }
  return after;
}

/// Every piece left has a predecessor left, so walking backwards must come round.
std::vector<std::size_t> cycle_among(const std::vector<std::vector<std::size_t>>& after, const std::vector<bool>& left) {
  std::vector<std::size_t> walked;
  auto at = static_cast<std::size_t>(std::ranges::find(left, true) - left.begin());
  for (;;) {
    const auto seen = std::ranges::find(walked, at);
    if (seen != walked.end()) {
      std::vector<std::size_t> cycle(seen, walked.end());
      std::ranges::reverse(cycle);
      return cycle;
    }
    walked.push_back(at);
    for (std::size_t before = 0; before < after.size(); ++before) {
      if (left[before] && std::ranges::find(after[before], at) != after[before].end()) {
        at = before;
        break;
      }
    }
  }
}

Side side_of(Hold hold, Ends ends, bool destination_reached) {
  if (ends == Ends::destination_only) return Side::destination;
  if (ends != Ends::two) return Side::source;
  if (hold == Hold::destination) return Side::destination;
  assert(hold != Hold::source || !destination_reached);
  return destination_reached ? Side::destination : Side::source;
}

}  // namespace

Ordered order(const Catalog& catalog, const std::vector<Piece>& pieces, Ends ends) {
  const auto after = successors(catalog, pieces, ends);
  std::vector<std::size_t> waiting_for(pieces.size(), 0);
  for (const auto& list : after) {
    for (const auto later : list) ++waiting_for[later];
  }
  // Functions are numbered by name, so this set hands out the smallest name first.
  const auto key = [&](std::size_t at) { return std::tuple(pieces[at].function, pieces[at].hold, at); };
  const auto by_name = [&](std::size_t left, std::size_t right) { return key(left) < key(right); };
  std::set<std::size_t, decltype(by_name)> ready(by_name);
  for (std::size_t at = 0; at < pieces.size(); ++at) {
    if (waiting_for[at] == 0) ready.insert(at);
  }
  std::vector<Step> steps;
  std::vector<bool> left(pieces.size(), true);
  bool destination_reached = false;
  while (!ready.empty()) {
    const auto at = *ready.begin();
    ready.erase(ready.begin());
    left[at] = false;
    const auto side = side_of(pieces[at].hold, ends, destination_reached);
    destination_reached = destination_reached || side == Side::destination;
    steps.push_back({pieces[at].function, side});
    for (const auto later : after[at]) {
      if (--waiting_for[later] == 0) ready.insert(later);
    }
  }
  if (steps.size() < pieces.size()) return cycle_among(after, left);
  return steps;
}

}  // namespace epif::planner
