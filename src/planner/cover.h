#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace epif::planner {

/// Money is time: microseconds x 2^30, so that `perGiB` x bytes needs no division and sums stay exact.
__extension__ using Cost = unsigned __int128;

/// What covering takes: bit i of a mask stands for candidate i, at most 64, in the order in which ties are decided.
struct CoverProblem {
  std::vector<std::uint64_t> elements;   ///< for each thing to cover, who can
  std::vector<Cost> costs;               ///< for each candidate
  std::vector<unsigned> counts;          ///< how many functions it stands for (a pair: 2)
  std::vector<std::uint64_t> forbidden;  ///< sets that may not all be chosen together
};

/// The exact minimum by (cost, number of functions, then candidates compared in order); nothing if there is no cover.
[[nodiscard]] std::optional<std::uint64_t> cheapest_cover(const CoverProblem& problem);

}  // namespace epif::planner
