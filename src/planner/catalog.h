#pragma once
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "planner/bits.h"
#include "planner/cover.h"
#include "planner/landscape.h"

namespace epif::planner {

/// What can be chosen as one: a function, or a pair with both its halves.
struct Unit {
  static constexpr std::size_t none = ~std::size_t{0};

  std::size_t first = 0;      ///< index into Catalog::functions
  std::size_t second = none;  ///< a pair's second half
  Bits provides;              ///< of both halves
  Place place = Place::any;   ///< not looked at for a pair

  [[nodiscard]] bool is_pair() const { return second != none; }
  [[nodiscard]] unsigned count() const { return is_pair() ? 2 : 1; }
};

/// The bridging functions as the planner sees them. Views the resources.
struct Catalog {
  std::vector<const BridgingFunction*> functions;  ///< by name
  std::vector<Unit> units;                         ///< by name of the first half
  std::vector<std::vector<std::size_t>> later;     ///< for each function, those that must see the data after it

  /// Code::cycle, naming it, where order constraints (and a pair's own order) contradict each other.
  [[nodiscard]] static Result<Catalog> make(const ResourceSet& resources, const Landscape& landscape);
  [[nodiscard]] Cost cost(const Unit& unit, std::uint64_t volume) const;
};

}  // namespace epif::planner
