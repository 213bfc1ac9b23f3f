#include "planner/cover.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <tuple>

namespace epif::planner {
namespace {

constexpr std::uint64_t bit(std::size_t at) {
  return std::uint64_t{1} << at;
}

struct Weight {
  Cost cost = 0;
  unsigned count = 0;

  friend bool operator<(const Weight& left, const Weight& right) {
    return std::tie(left.cost, left.count) < std::tie(right.cost, right.count);
  }
  friend bool operator==(const Weight& left, const Weight& right) {
    return left.cost == right.cost && left.count == right.count;
  }
  friend Weight operator+(const Weight& left, const Weight& right) {
    return {left.cost + right.cost, left.count + right.count};
  }
};

/// Branch and bound: always branch on the element with the fewest ways left, cut where what is chosen plus a lower bound
/// is no better than the best.
class Search {
 public:
  explicit Search(const CoverProblem& problem) : problem_(problem) {
    // An element that every cover of another one covers as well says nothing new.
    auto elements = problem.elements;
    std::ranges::sort(elements, [](auto left, auto right) {
      return std::tuple(std::popcount(left), left) < std::tuple(std::popcount(right), right);
    });
    for (const auto element : elements) {
      const bool implied = std::ranges::any_of(elements_, [&](auto kept) { return (kept & element) == kept; });
      if (!implied) elements_.push_back(element);
    }
  }

  /// Some cover of the least weight.
  [[nodiscard]] std::optional<std::uint64_t> lightest_cover() {
    found_.reset();
    descend(0, 0, {});
    return found_;
  }

  /// Some cover no heavier than `limit` that takes all of `chosen` and none of `excluded`.
  [[nodiscard]] std::optional<std::uint64_t> any_cover(std::uint64_t chosen, std::uint64_t excluded, const Weight& limit) {
    found_.reset();
    limit_ = limit;
    descend(chosen, excluded, total(chosen));
    return found_;
  }

  [[nodiscard]] Weight total(std::uint64_t candidates) const {
    Weight sum;
    for (auto left = candidates; left != 0; left &= left - 1) {
      sum = sum + weight_of(static_cast<std::size_t>(std::countr_zero(left)));
    }
    return sum;
  }

  [[nodiscard]] Weight weight_of(std::size_t candidate) const {
    return {problem_.costs[candidate], problem_.counts[candidate]};
  }

 private:
  [[nodiscard]] Weight lightest(std::uint64_t candidates) const {
    auto least = weight_of(static_cast<std::size_t>(std::countr_zero(candidates)));
    for (auto left = candidates & (candidates - 1); left != 0; left &= left - 1) {
      least = std::min(least, weight_of(static_cast<std::size_t>(std::countr_zero(left))));
    }
    return least;
  }

  /// Whether nothing from here on can be wanted: with a limit the first find ends the search, without one only lighter
  /// finds count.
  [[nodiscard]] bool hopeless(const Weight& bound) const {
    if (limit_) return found_ || *limit_ < bound;
    return found_ && !(bound < best_);
  }

  void descend(std::uint64_t chosen, std::uint64_t excluded, Weight weight) {
    for (const auto set : problem_.forbidden) {
      if ((chosen & set) == set) return;
    }
    // Elements that share no candidate need a candidate each: their lightest ones add up to a lower bound.
    std::uint64_t counted = 0;
    std::uint64_t branch = 0;
    auto bound = weight;
    for (const auto element : elements_) {
      if ((element & chosen) != 0) continue;
      const auto ways = element & ~excluded;
      if (ways == 0) return;
      if (branch == 0 || std::popcount(ways) < std::popcount(branch)) branch = ways;
      if ((ways & counted) != 0) continue;
      counted |= ways;
      bound = bound + lightest(ways);
    }
    if (hopeless(bound)) return;
    if (branch == 0) {
      best_ = weight;
      found_ = chosen;
      return;
    }
    // Candidate i is tried without those before it, so that no set is looked at twice. Light ones first: good bests early.
    std::vector<std::size_t> ways;
    for (auto left = branch; left != 0; left &= left - 1) ways.push_back(static_cast<std::size_t>(std::countr_zero(left)));
    std::ranges::sort(ways, [this](std::size_t left, std::size_t right) {
      return weight_of(left) < weight_of(right) || (weight_of(left) == weight_of(right) && left < right);
    });
    for (const auto at : ways) {
      descend(chosen | bit(at), excluded, weight + weight_of(at));
      excluded |= bit(at);
    }
  }

  const CoverProblem& problem_;
  std::vector<std::uint64_t> elements_;
  std::optional<std::uint64_t> found_;
  Weight best_;  ///< of found_
  std::optional<Weight> limit_;
};

}  // namespace

std::optional<std::uint64_t> cheapest_cover(const CoverProblem& problem) {
  assert(problem.costs.size() <= 64 && problem.costs.size() == problem.counts.size());
  Search search(problem);
  auto witness = search.lightest_cover();
  if (!witness) return std::nullopt;
  const auto least = search.total(*witness);
  // Ties: take each candidate, in order, that some lightest cover takes together with what is taken already.
  std::uint64_t chosen = 0;
  std::uint64_t excluded = 0;
  std::uint64_t useful = 0;
  for (const auto element : problem.elements) useful |= element;
  for (auto left = useful; left != 0; left &= left - 1) {
    const auto at = static_cast<std::size_t>(std::countr_zero(left));
    if ((*witness & bit(at)) == 0) {
      const auto with = search.any_cover(chosen | bit(at), excluded, least);
      if (with) witness = with;
    }
    if ((*witness & bit(at)) != 0)
      chosen |= bit(at);
    else
      excluded |= bit(at);
  }
  assert(chosen == *witness);
  return chosen;
}

}  // namespace epif::planner
