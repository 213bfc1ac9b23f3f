#pragma once
#include <cstdint>

#include "base/error.h"
#include "planner/choose.h"
#include "planner/landscape.h"
#include "planner/plan.h"

namespace epif::planner {

/// The verdict on data that moves from one site to another, given that it is permitted.
struct Judgement {
  Verdict verdict = Verdict::supported;
  Bits gap;
  const Choice* choice = nullptr;  ///< null without a gap
};

/// Eq. 5 as the rule says: what the destination lacks of the source's attributes and of `required`.
[[nodiscard]] Bits gap_between(const Landscape::Site& source, const Landscape::Site& destination, const Bits& required,
                               GapRule rule);

[[nodiscard]] Result<Judgement> judge(const Landscape& landscape, Chooser& chooser, const Landscape::Site& source,
                                      const Landscape::Site& destination, const Bits& required, std::uint64_t volume,
                                      GapRule rule);

}  // namespace epif::planner
