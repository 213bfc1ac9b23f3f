#pragma once
#include <string>
#include <vector>

#include "policy/entities.h"
#include "policy/policy.h"
#include "policy/request.h"

namespace epif::policy {

/// A policy whose evaluation failed. As in Cedar it does not count, whether permit or forbid.
struct PolicyError {
  std::string id;
  Effect effect = Effect::permit;
  Error error;
};

struct Decision {
  bool allow = false;
  std::vector<std::string> reason;  ///< ids, sorted: the satisfied forbids, else the satisfied permits; empty: none
  std::vector<PolicyError> errors;  ///< sorted by id
  std::vector<std::string> required_attributes;  ///< union of @require of the satisfied permits, sorted; empty if denied
};

/// Default deny; a satisfied forbid wins over every permit. Cedar reference guide, "Authorization".
[[nodiscard]] Decision authorize(const PolicySet& policies, const Entities& entities, const Request& request);

/// Whether the head of `policy` (principal, action, resource) fits the request. Cannot fail.
[[nodiscard]] bool scope_matches(const Policy& policy, const Entities& entities, const Request& request);

/// A permit that would have allowed the request but for some of its conditions.
struct NearMiss {
  std::string id;
  std::vector<std::string> failed;  ///< in the policy's words: "`context.consent` was false", "..." for at most three
};

/// Of the permits whose head fits, the one with the fewest parts of its conditions unmet (parts are what && joins); the
/// first of equals. Empty id: no permit's head fits.
[[nodiscard]] NearMiss nearest_permit(const PolicySet& policies, const Entities& entities, const Request& request);

}  // namespace epif::policy
