#pragma once
#include <chrono>
#include <memory>

#include "model/resource.h"
#include "planner/plan.h"
#include "policy/flow_request.h"

namespace epif::app {

/// Makes the policy engine that the planner asks, from all Policy and Consent resources at the moment `now`. Shared by
/// `epif plan` and the orchestrator. Without any policy it denies every flow; whoever wants to plan without policies
/// leaves PlanOptions::policy empty. Errors: a policy text outside of the language, with its place.
[[nodiscard]] inline Result<planner::PolicyEngine> policy_engine(const ResourceSet& resources,
                                                                 std::chrono::sys_seconds now) {
  auto made = policy::FlowPolicies::make(resources, now);
  if (!made) return fail(std::move(made.error()));
  const auto policies = std::make_shared<const policy::FlowPolicies>(std::move(*made));
  return [policies](const planner::PolicyQuery& query) -> Result<planner::PolicyDecision> {
    auto answer = policies->decide(query.application, query.flow, query.direction, query.source, query.destination);
    return planner::PolicyDecision{answer.permitted, std::move(answer.policies), std::move(answer.reason),
                                   std::move(answer.requires_attributes)};
  };
}

}  // namespace epif::app
