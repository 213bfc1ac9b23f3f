#include "policy/authorize.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "policy/evaluate.h"

namespace epif::policy {
namespace {

bool part_matches(const ScopePart& part, const EntityUid& uid, const Entities& entities) {
  switch (part.kind) {
    case ScopePart::Kind::any: return true;
    case ScopePart::Kind::equal: return uid == part.entities.front();
    case ScopePart::Kind::in: return entities.is_in(uid, part.entities);
    case ScopePart::Kind::is: return uid.type == part.type;
    case ScopePart::Kind::is_in: return uid.type == part.type && entities.is_in(uid, part.entities);
  }
  return false;
}

/// Whether head and conditions hold.
Result<bool> satisfied(const Policy& policy, const Entities& entities, const Request& request) {
  if (!scope_matches(policy, entities, request)) return false;
  const Environment environment{entities, request, *policy.source};
  for (const auto& condition : policy.conditions) {
    const auto holds = evaluate_bool(condition.expression, environment);
    if (!holds) return fail(holds.error());
    if (*holds != condition.when) return false;
  }
  return true;
}

constexpr std::size_t parts_told = 3;

/// Adds a line for each part of a condition that is unmet.
void unmet(const Condition& condition, const Environment& environment, std::vector<std::string>& into) {
  const auto look_at = [&](const Expression& part, bool wanted) {
    const auto holds = evaluate_bool(part, environment);
    const auto text = environment.source.excerpt(part.span);
    if (!holds) {
      into.push_back(fmt::format("`{}` could not be evaluated ({})", text, holds.error().what));
    } else if (*holds != wanted) {
      into.push_back(wanted ? fmt::format("`{}` was false", text) : fmt::format("`{}` was true (unless)", text));
    }
  };
  if (condition.when && condition.expression.op == Op::both) {
    for (const auto& part : condition.expression.operands) look_at(part, true);
  } else {
    look_at(condition.expression, condition.when);
  }
}

}  // namespace

bool scope_matches(const Policy& policy, const Entities& entities, const Request& request) {
  return part_matches(policy.principal, request.principal, entities) &&
         part_matches(policy.action, request.action, entities) && part_matches(policy.resource, request.resource, entities);
}

Decision authorize(const PolicySet& policies, const Entities& entities, const Request& request) {
  std::vector<std::string> permits;
  std::vector<std::string> forbids;
  std::set<std::string> required;
  Decision decision;
  for (const auto& policy : policies.policies) {
    const auto holds = satisfied(policy, entities, request);
    if (!holds) {
      decision.errors.push_back({policy.id, policy.effect, holds.error()});
    } else if (*holds) {
      (policy.effect == Effect::permit ? permits : forbids).push_back(policy.id);
      required.insert(policy.requires_attributes.begin(), policy.requires_attributes.end());
    }
  }
  decision.allow = forbids.empty() && !permits.empty();
  decision.reason = forbids.empty() ? std::move(permits) : std::move(forbids);
  std::ranges::sort(decision.reason);
  std::ranges::sort(decision.errors, {}, &PolicyError::id);
  if (decision.allow) decision.required_attributes.assign(required.begin(), required.end());
  return decision;
}

NearMiss nearest_permit(const PolicySet& policies, const Entities& entities, const Request& request) {
  NearMiss nearest;
  for (const auto& policy : policies.policies) {
    if (policy.effect != Effect::permit || !scope_matches(policy, entities, request)) continue;
    const Environment environment{entities, request, *policy.source};
    std::vector<std::string> failed;
    for (const auto& condition : policy.conditions) unmet(condition, environment, failed);
    if (nearest.id.empty() || failed.size() < nearest.failed.size()) nearest = {policy.id, std::move(failed)};
  }
  if (nearest.failed.size() > parts_told) {
    nearest.failed.resize(parts_told);
    nearest.failed.emplace_back("...");
  }
  return nearest;
}

}  // namespace epif::policy
