#pragma once
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "model/resource.h"
#include "orchestrator/judgement.h"

namespace epif::orchestrator {

/// How long routes hold if nobody renews them.
struct FlowEnds {
  std::chrono::sys_seconds ordinary;                         ///< within limits::route_expiry_s, on a full hour
  std::map<std::string, std::chrono::sys_seconds> flows;     ///< "application/flow" that ends earlier
  std::chrono::sys_seconds next_look;                        ///< when something here changes by itself
};

/// The ends of granted flows. Consents end by themselves: each such moment before the ordinary end is judged in advance, and
/// a flow that would not be possible then ends there, so that it ends in time even if the control plane is dead by then;
/// a flow that does not need the consent is not cut. Ends change once an hour, so that tables seldom do.
[[nodiscard]] FlowEnds flow_ends(const ResourceSet& resources, const std::vector<std::string>& oldest_first,
                                 const Judgement& now_judged, const PolicySource& policies, std::chrono::sys_seconds now);

}  // namespace epif::orchestrator
