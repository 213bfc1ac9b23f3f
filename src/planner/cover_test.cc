#include "planner/cover.h"

#include <gtest/gtest.h>

#include <bit>
#include <optional>
#include <random>
#include <tuple>

namespace epif::planner {
namespace {

/// Every subset, by (cost, count, candidates in order).
std::optional<std::uint64_t> by_trying_all(const CoverProblem& problem) {
  using Rank = std::tuple<Cost, unsigned, std::vector<int>>;
  std::optional<Rank> best;
  std::optional<std::uint64_t> chosen;
  for (std::uint64_t set = 0; set < (std::uint64_t{1} << problem.costs.size()); ++set) {
    const auto misses = [&](std::uint64_t element) { return (element & set) == 0; };
    const auto holds = [&](std::uint64_t forbidden) { return (forbidden & set) == forbidden; };
    if (std::ranges::any_of(problem.elements, misses) || std::ranges::any_of(problem.forbidden, holds)) continue;
    Rank rank{0, 0, {}};
    for (std::size_t at = 0; at < problem.costs.size(); ++at) {
      if (((set >> at) & 1) == 0) continue;
      std::get<0>(rank) += problem.costs[at];
      std::get<1>(rank) += problem.counts[at];
      std::get<2>(rank).push_back(static_cast<int>(at));
    }
    if (best && !(rank < *best)) continue;
    best = rank;
    chosen = set;
  }
  return chosen;
}

TEST(Cover, IsTheCheapestOfAllSubsets) {
  std::mt19937 random(7);
  for (int round = 0; round < 5'000; ++round) {
    CoverProblem problem;
    const auto candidates = 1 + random() % 9;
    for (std::size_t at = 0; at < candidates; ++at) {
      problem.costs.push_back(random() % 4);
      problem.counts.push_back(1 + random() % 2);
    }
    const auto all = (std::uint64_t{1} << candidates) - 1;
    for (auto left = random() % 7; left > 0; --left) problem.elements.push_back((random() | random()) & all);
    for (auto left = random() % 3; left > 0; --left) problem.forbidden.push_back((random() & all) | 1);
    ASSERT_EQ(cheapest_cover(problem), by_trying_all(problem)) << round;
  }
}

TEST(Cover, NothingToCoverTakesNothing) {
  EXPECT_EQ(cheapest_cover({{}, {5, 0}, {1, 1}, {}}), 0u);
}

TEST(Cover, WhatNobodyCoversHasNoCover) {
  EXPECT_EQ(cheapest_cover({{1, 0}, {0}, {1}, {}}), std::nullopt);
}

TEST(Cover, TiesGoToFewerFunctionsThenToEarlierOnes) {
  EXPECT_EQ(cheapest_cover({{0b101, 0b110}, {0, 0, 0}, {1, 1, 1}, {}}), 0b100u);
  EXPECT_EQ(cheapest_cover({{0b11}, {0, 0}, {1, 1}, {}}), 0b01u);
  EXPECT_EQ(cheapest_cover({{0b11}, {0, 0}, {2, 1}, {}}), 0b10u);
}

TEST(Cover, ThirtyTwoCandidatesAndManyElementsStayExactAndQuick) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20; ++round) {
    CoverProblem problem;
    for (int at = 0; at < 32; ++at) {
      problem.costs.push_back(1 + random() % 1'000);
      problem.counts.push_back(1);
    }
    for (int at = 0; at < 64; ++at)
      problem.elements.push_back((random() & random() & random() & 0xffffffffu) | (1u << (at % 32)));
    const auto chosen = cheapest_cover(problem);
    ASSERT_TRUE(chosen);
    for (const auto element : problem.elements) EXPECT_NE(element & *chosen, 0u);
  }
}

}  // namespace
}  // namespace epif::planner
