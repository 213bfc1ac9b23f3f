#pragma once
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "planner/bits.h"
#include "planner/catalog.h"
#include "planner/order.h"

namespace epif::planner {

/// What is to be bridged on one connection, seen from one end, called the source.
struct Need {
  Bits forward;   ///< gap of the data that moves from the source
  Bits backward;  ///< gap of the data that moves towards it; empty when one direction is judged by itself
  Ends ends = Ends::none;
  std::uint64_t volume = 0;
  friend bool operator==(const Need&, const Need&) = default;
};

/// The answer: a chain, or why there is none.
struct Choice {
  bool feasible = false;
  std::vector<Step> steps;           ///< in the direction of forward data
  Bits missing;                      ///< what nothing placeable provides, or nothing that can be put in order
  std::vector<std::size_t> tangled;  ///< functions whose order and places contradict each other
};

/// Whether a proxy may hold the unit when data moves between these ends.
[[nodiscard]] bool placeable(const Unit& unit, Ends ends);

/// Chooses chains: the cheapest set that covers the need and can be put in order; exact. Remembers what it has answered,
/// since a million flows share few needs. Views the catalogue.
class Chooser {
 public:
  explicit Chooser(const Catalog& catalog) : catalog_(catalog) {}

  /// The reference is good until the Chooser ends. Code::limit with more than 64 candidates for one need.
  [[nodiscard]] Result<const Choice*> choose(const Need& need);
  [[nodiscard]] std::size_t distinct_needs() const { return known_.size(); }

 private:
  struct NeedHash {
    [[nodiscard]] std::size_t operator()(const Need& need) const {
      const auto gaps = need.forward.hash() ^ Bits::mix(need.backward.hash() + 1);
      return Bits::mix(gaps ^ (need.volume << 3) ^ static_cast<std::uint64_t>(need.ends));
    }
  };

  const Catalog& catalog_;
  std::unordered_map<Need, Choice, NeedHash> known_;
};

}  // namespace epif::planner
