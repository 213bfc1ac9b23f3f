#pragma once
#include <string>
#include <vector>

#include "planner/choose.h"
#include "planner/judge.h"
#include "planner/permission.h"

namespace epif::planner {

/// "a", "a and b", "a, b and c".
[[nodiscard]] std::string words(const std::vector<std::string>& list);
/// "f and g at umc/p, h at research/q": a chain by its proxies.
[[nodiscard]] std::string chain_words(const std::vector<PlacedFunction>& chain);

/// One direction of a flow, as the sentences need it.
struct Told {
  const Landscape& landscape;
  const Catalog& catalog;
  const std::string& source;  ///< "domain/node"
  const std::string& destination;
  Ends ends = Ends::none;
};

[[nodiscard]] std::string supported_reason(const Told& told, const Permission& permission, GapRule rule);
[[nodiscard]] std::string bridged_reason(const Told& told, const AttributeSet& gap, const std::vector<PlacedFunction>& chain,
                                         GapRule rule);
/// A gap that a flow of datagrams cannot have bridged.
[[nodiscard]] std::string datagram_reason(const Told& told, const AttributeSet& gap, GapRule rule);
/// Names the missing attributes and, where a function exists that could not be placed, which and why.
[[nodiscard]] std::string unfeasible_reason(const Told& told, const AttributeSet& gap, const Choice& choice, GapRule rule);

}  // namespace epif::planner
