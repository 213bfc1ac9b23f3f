#include "planner/judge.h"

namespace epif::planner {

Bits gap_between(const Landscape::Site& source, const Landscape::Site& destination, const Bits& required, GapRule rule) {
  if (rule == GapRule::printed) return destination.attributes - (source.attributes | required);
  return (source.attributes | required) - destination.attributes;
}

Result<Judgement> judge(const Landscape& landscape, Chooser& chooser, const Landscape::Site& source,
                        const Landscape::Site& destination, const Bits& required, std::uint64_t volume, GapRule rule) {
  Judgement judgement;
  judgement.gap = gap_between(source, destination, required, rule);
  if (judgement.gap.empty()) return judgement;
  const auto choice = chooser.choose({judgement.gap, {}, landscape.ends(source, destination), volume});
  if (!choice) return fail(choice.error());
  judgement.choice = *choice;
  judgement.verdict = judgement.choice->feasible ? Verdict::bridged : Verdict::unfeasible;
  return judgement;
}

}  // namespace epif::planner
