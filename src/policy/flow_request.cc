#include "policy/flow_request.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace epif::policy {
namespace {

EntityUid uid_of(const Node& node) {
  return {"Node", node.metadata.full_name()};
}
Value text(std::string_view value) {
  return Value(std::string(value));
}

Value text_set(const std::vector<std::string>& texts) {
  std::vector<Value> elements;
  for (const auto& item : texts) elements.push_back(text(item));
  return Value::set(std::move(elements));
}

Value address_set(const std::vector<IpAddress>& addresses) {
  std::vector<Value> elements;
  for (const auto& address : addresses) {
    elements.emplace_back(IpRange{address, static_cast<std::uint8_t>(address.is_v4() ? 32 : 128)});
  }
  return Value::set(std::move(elements));
}

Record tags_of(const Metadata& metadata) {
  Record tags;
  for (const auto& [key, value] : metadata.labels) tags.emplace(key, text(value));
  return tags;
}

/// The policy text of a resource as a source whose lines are those of the document it came from. Columns of a YAML block
/// (`text: |`) count without the block's indentation, which is not part of the text. A JSON text of several lines has no
/// lines of its own in its document and is counted by itself.
Source source_of(const epif::Policy& policy) {
  const auto& origin = policy.text_origin;
  const bool json = origin.file.ends_with(".json");
  const bool lines = policy.text.find('\n') != std::string::npos;
  if (origin.line <= 0 || (lines && json)) return {"Policy/" + policy.metadata.name, policy.text};
  const auto column = lines ? 1 : std::max(origin.column, 1);
  return {origin.file, policy.text, static_cast<std::uint32_t>(origin.line), static_cast<std::uint32_t>(column)};
}

bool lists(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

Result<FlowPolicies> FlowPolicies::make(const ResourceSet& resources, std::chrono::sys_seconds now) {
  FlowPolicies flow_policies;
  for (const auto& [name, resource] : resources.policies) {
    auto set = parse_policies(source_of(resource), name + "/policy");
    if (!set) return fail(std::move(set.error()));
    if (set->policies.size() == 1 && set->policies.front().id == name + "/policy0") set->policies.front().id = name;
    auto added = flow_policies.policies_.add(std::move(*set));
    if (!added) return fail(std::move(added.error()));
  }
  flow_policies.consents_ = resources.consents;
  flow_policies.domains_ = resources.domains;
  flow_policies.now_ = now;
  return flow_policies;
}

Result<> FlowPolicies::check_required(const ResourceSet& resources) const {
  std::set<std::string_view> known;
  for (const auto& [name, node] : resources.nodes) known.insert(node.attributes.begin(), node.attributes.end());
  for (const auto& [name, function] : resources.functions) known.insert(function.provides.begin(), function.provides.end());
  for (const auto& [name, more] : resources.attributes) known.insert(more.attributes.begin(), more.attributes.end());
  for (const auto& policy : policies_.policies) {
    for (const auto& attribute : policy.requires_attributes) {
      if (known.contains(attribute)) continue;
      return fail(Code::invalid_input, fmt::format("policy {} requires attribute '{}', which is not known", policy.id, attribute),
                  policy.where(), "no Node, BridgingFunction or Attributes resource names it",
                  "correct it, or name it in an Attributes resource");
    }
  }
  return {};
}

FlowPolicies::ConsentState FlowPolicies::consent(const std::string& flow, const std::string& purpose) const {
  ConsentState state;
  state.lacking = fmt::format("no Consent lists {} for the purpose {}", flow, quoted(purpose));
  for (const auto& [name, consent] : consents_) {
    if (!lists(consent.flows, flow)) continue;
    if (!lists(consent.purposes, purpose)) {
      state.lacking = fmt::format("Consent {} lists {} but not for the purpose {}", name, flow, quoted(purpose));
    } else if (consent.expires && *consent.expires <= now_) {
      state.lacking = fmt::format("Consent {} ended at {:%Y-%m-%dT%H:%M:%SZ}", name,
                                  fmt::gmtime(std::chrono::system_clock::to_time_t(*consent.expires)));
    } else {
      state.subjects.push_back(consent.subject);
    }
  }
  if (!state.subjects.empty()) state.lacking.clear();
  return state;
}

std::string FlowPolicies::jurisdiction(const std::string& domain) const {
  const auto at = domains_.find(domain);
  return at == domains_.end() ? std::string{} : at->second.jurisdiction;
}

Entities FlowPolicies::entities(const Node& source, const Node& destination) const {
  Entities entities;
  // An entity that is there already (both ends in one domain, a node sharing with itself) stays: it is the same.
  for (const auto* node : {&source, &destination}) {
    const auto& domain = node->metadata.domain;
    const auto known = domains_.find(domain);
    (void)entities.add({{"Domain", domain},
                        {{"name", text(domain)}, {"jurisdiction", text(jurisdiction(domain))}},
                        known == domains_.end() ? Record{} : tags_of(known->second.metadata),
                        {}});
    (void)entities.add({uid_of(*node),
                        {{"name", text(node->metadata.name)},
                         {"domain", text(domain)},
                         {"jurisdiction", text(jurisdiction(domain))},
                         {"attributes", text_set(node->attributes)},
                         {"addresses", address_set(node->addresses)}},
                        tags_of(node->metadata),
                        {{"Domain", domain}}});
  }
  return entities;
}

std::string FlowPolicies::forbidden_reason(const std::vector<std::string>& ids) const {
  std::string reason = fmt::format("forbidden by policy {}", fmt::join(ids, ", "));
  const auto first = std::ranges::find(policies_.policies, ids.front(), &Policy::id);
  if (first == policies_.policies.end()) return reason;
  std::string_view separator = ", which says ";
  for (const auto& condition : first->conditions) {
    reason += fmt::format("{}{} `{}`", separator, condition.when ? "when" : "unless",
                          first->source->excerpt(condition.expression.span));
    separator = " ";
  }
  return reason;
}

FlowDecision FlowPolicies::decide(const Application& application, const Flow& flow, DataDirection direction,
                                  const Node& source, const Node& destination) const {
  const auto consent_state = consent(application.metadata.name + "/" + flow.name, application.purpose);
  const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch()).count();
  const Request request{
      uid_of(source),
      {"Action", "share"},
      uid_of(destination),
      Value::record({{"purpose", text(application.purpose)},
                     {"application", text(application.metadata.name)},
                     {"archetype", text(application.archetype)},
                     {"flow", text(flow.name)},
                     {"profile", text(name(flow.profile))},
                     {"direction", text(name(direction))},
                     {"consent", Value(!consent_state.subjects.empty())},
                     {"subjects", text_set(consent_state.subjects)},
                     {"port", Value(std::int64_t{flow.port})},
                     {"volume", Value(static_cast<std::int64_t>(std::min<std::uint64_t>(flow.volume, INT64_MAX)))},
                     {"from_domain", text(source.metadata.domain)},
                     {"to_domain", text(destination.metadata.domain)},
                     {"from_jurisdiction", text(jurisdiction(source.metadata.domain))},
                     {"to_jurisdiction", text(jurisdiction(destination.metadata.domain))},
                     {"client", Value(EntityUid{"Node", flow.from})},
                     {"server", Value(EntityUid{"Node", flow.to})},
                     {"now", Value(Datetime{now_ms})}})};
  const auto known = entities(source, destination);
  const auto decision = authorize(policies_, known, request);
  const auto unchecked = std::ranges::find(decision.errors, Effect::forbid, &PolicyError::effect);
  FlowDecision answer;
  if (decision.allow && unchecked != decision.errors.end()) {
    answer.policies = {unchecked->id};
    answer.reason = fmt::format("denied, since the forbidding policy {} could not be evaluated: {}", unchecked->id,
                                unchecked->error.text());
    return answer;
  }
  answer.permitted = decision.allow;
  answer.policies = decision.reason;
  answer.requires_attributes = decision.required_attributes;
  if (decision.allow) {
    answer.reason = fmt::format("permitted by policy {}", fmt::join(decision.reason, ", "));
    if (!answer.requires_attributes.empty())
      answer.reason += fmt::format(", requires {}", fmt::join(answer.requires_attributes, ", "));
  } else if (!decision.reason.empty()) {
    answer.reason = forbidden_reason(decision.reason);
  } else if (const auto nearest = nearest_permit(policies_, known, request); nearest.id.empty()) {
    answer.reason =
        fmt::format("no policy permits it: none is about data from {} to {}", uid_of(source).id, uid_of(destination).id);
  } else {
    answer.reason =
        fmt::format("no policy permits it; the nearest is {}, where {}", nearest.id, fmt::join(nearest.failed, " and "));
    const bool about_consent = answer.reason.find("context.consent") != std::string::npos;
    if (about_consent && !consent_state.lacking.empty()) answer.reason += fmt::format(" ({})", consent_state.lacking);
  }
  for (const auto& error : decision.errors)
    answer.reason += fmt::format("; policy {} was skipped: {}", error.id, error.error.text());
  return answer;
}

std::optional<std::chrono::sys_seconds> FlowPolicies::next_expiry() const {
  std::optional<std::chrono::sys_seconds> next;
  for (const auto& [name, consent] : consents_) {
    if (consent.expires && *consent.expires > now_ && (!next || *consent.expires < *next)) next = consent.expires;
  }
  return next;
}

}  // namespace epif::policy
