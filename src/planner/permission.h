#pragma once
#include <string>
#include <vector>

#include "planner/landscape.h"
#include "planner/plan.h"

namespace epif::planner {

/// What policies and both domains' authorisers say about one direction of one flow.
struct Permission {
  bool granted = true;
  std::vector<std::string> policies;
  std::string reason;  ///< why not; empty if granted
  AttributeSet required_names;
  Bits required;
};

/// Errors: the policy engine's own, and a required attribute that nobody knows.
[[nodiscard]] Result<Permission> ask_permission(const ResourceSet& resources, const Landscape& landscape,
                                                const PolicyEngine& engine, const PolicyQuery& query);

}  // namespace epif::planner
