#include "orchestrator/policies.h"

#include "policy/flow_request.h"

namespace epif::orchestrator {

PolicySource cedar_policies() {
  return [](const ResourceSet& resources, std::chrono::sys_seconds now) -> Result<planner::PolicyEngine> {
    auto made = policy::FlowPolicies::make(resources, now);
    if (!made) return fail(made.error());
    const auto policies = std::make_shared<const policy::FlowPolicies>(std::move(*made));
    return [policies](const planner::PolicyQuery& query) -> Result<planner::PolicyDecision> {
      auto answer = policies->decide(query.application, query.flow, query.direction, query.source, query.destination);
      return planner::PolicyDecision{answer.permitted, std::move(answer.policies), std::move(answer.reason),
                                     std::move(answer.requires_attributes)};
    };
  };
}

}  // namespace epif::orchestrator
