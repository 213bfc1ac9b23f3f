#pragma once
#include <cstdint>
#include <variant>
#include <vector>

#include "planner/catalog.h"

namespace epif::planner {

/// The two ends of a flow's data.
enum class Side : std::uint8_t { source, destination };
/// Where a chosen function must be held.
enum class Hold : std::uint8_t { anywhere, source, destination };

/// A chosen function on its way into a chain.
struct Piece {
  std::size_t function = 0;
  Hold hold = Hold::anywhere;
};

/// A function in its place in a chain.
struct Step {
  std::size_t function = 0;
  Side side = Side::source;
  friend bool operator==(const Step&, const Step&) = default;
};

/// Either the chain in the direction of the data, or the indexes of pieces that go round in a cycle.
using Ordered = std::variant<std::vector<Step>, std::vector<std::size_t>>;

/// Sorts pieces by the catalogue's order, ties by name, so that with two proxies all that the source's proxy holds comes
/// before what the destination's holds. A piece that may be anywhere stays at the source as long as that is possible: the
/// data is bridged before it leaves.
[[nodiscard]] Ordered order(const Catalog& catalog, const std::vector<Piece>& pieces, Ends ends);

}  // namespace epif::planner
