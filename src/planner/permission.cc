#include "planner/permission.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/words.h"

namespace epif::planner {
namespace {

bool lists(const std::vector<std::string>& list, const std::string& wanted) {
  return list.empty() || std::ranges::find(list, wanted) != list.end();
}

/// Why the domain refuses; empty if it does not.
std::string refusal(const ResourceSet& resources, const std::string& domain_name, const Application& application) {
  const auto at = resources.domains.find(domain_name);
  if (at == resources.domains.end() || !at->second.allow) return {};
  std::vector<std::string> purposes;
  for (const auto& rule : *at->second.allow) {
    if (lists(rule.purposes, application.purpose) && lists(rule.applications, application.metadata.name)) return {};
    purposes.insert(purposes.end(), rule.purposes.begin(), rule.purposes.end());
  }
  const auto purpose =
      application.purpose.empty() ? std::string("without a purpose") : "for purpose '" + application.purpose + "'";
  const auto allowed = purposes.empty() ? std::string() : " (it allows " + words(purposes) + ")";
  return fmt::format("domain {} refuses application {} {}{}", domain_name, application.metadata.name, purpose, allowed);
}

}  // namespace

Result<Permission> ask_permission(const ResourceSet& resources, const Landscape& landscape, const PolicyEngine& engine,
                                  const PolicyQuery& query) {
  Permission permission;
  if (engine) {
    auto decision = engine(query);
    if (!decision) return fail(std::move(decision.error()));
    permission.granted = decision->permitted;
    permission.policies = std::move(decision->policies);
    if (!permission.granted) permission.reason = decision->reason.empty() ? "no policy permits it" : decision->reason;
    for (const auto& name : decision->requires_attributes) {
      const auto bit = landscape.attribute(name);
      if (bit == Landscape::nowhere) {
        return fail(Code::not_found,
                    fmt::format("policy {} requires attribute '{}', which is not known", words(permission.policies), name),
                    query.flow.origin.text(), "no Node, BridgingFunction or Attributes resource names it",
                    "correct it, or name it in an Attributes resource");
      }
      permission.required.set(bit);
    }
    permission.required_names = std::move(decision->requires_attributes);
  }
  const auto& source = query.source.metadata.domain;
  const auto& destination = query.destination.metadata.domain;
  for (const auto* domain : {&source, &destination}) {
    if (domain == &destination && source == destination) break;
    const auto why = refusal(resources, *domain, query.application);
    if (why.empty()) continue;
    permission.granted = false;
    permission.reason += (permission.reason.empty() ? "" : "; ") + why;
  }
  return permission;
}

}  // namespace epif::planner
