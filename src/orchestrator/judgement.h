#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/resource.h"
#include "planner/plan.h"

/// Judges all applications together, so that one that is wrong by itself harms no other. Pure.
namespace epif::orchestrator {

/// Makes the policy engine for these resources at this moment (consents end by themselves).
using PolicySource = std::function<Result<planner::PolicyEngine>(const ResourceSet&, std::chrono::sys_seconds now)>;

struct Verdict {
  enum class Kind { possible, denied, unfeasible, failed };
  Kind kind = Kind::failed;
  std::string reason;
  std::vector<planner::DirectionPlan> flows;
  std::vector<planner::Install> installs;
};

struct Judgement {
  std::map<std::string, Verdict> applications;
  planner::Plan plan;  ///< of all applications that could be planned together
};

/// `oldest_first`: names of the applications in `resources`, in the order in which they came. An application is possible
/// only if every one of its flows is. Of two applications whose flows conflict, the one that came first keeps its verdict
/// and the later one fails, so that nobody can take down a running application by submitting another.
/// One with a flow to a machine inside of the alias range fails. An application that cannot be planned fails by itself. If the
/// policies themselves cannot be used, all fail.
[[nodiscard]] Judgement judge(const ResourceSet& resources, const std::vector<std::string>& oldest_first,
                              const PolicySource& policies, std::chrono::sys_seconds now,
                              const std::optional<Cidr>& alias_range = {});

/// The directions as JSON array, in the shape of `epif plan -o json`.
[[nodiscard]] std::string print_flows(const std::vector<planner::DirectionPlan>& flows);

}  // namespace epif::orchestrator
