#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/resource.h"
#include "policy/authorize.h"

/// Flows as policies see them. Data that would move in one direction of one flow becomes a Cedar request:
///   principal  Node::"umc/modality", where the data is      action  Action::"share"
///   resource   Node::"research/pacs", where it would go
///   context    purpose, application, archetype, flow, profile, direction ("push", "pull"): text; consent: bool; port,
///              volume: long; from_domain, to_domain, from_jurisdiction, to_jurisdiction: text, "" if unknown; client,
///              server: Node; subjects: set of the consenting persons' pseudonyms; now: datetime
/// A Node is `in` its Domain and has name, domain, jurisdiction, attributes (set of text), addresses (set of ip); a Domain
/// has name and jurisdiction; labels are tags of both. from and to follow the data, client and server the connection.
namespace epif::policy {

/// The answer for one direction, with the fields of the planner's PolicyDecision.
struct FlowDecision {
  bool permitted = false;
  std::vector<std::string> policies;             ///< sorted ids: what forbade, else what permitted; empty: nothing permits
  std::string reason;                            ///< for people: who permits or forbids, or which condition is lacking
  std::vector<std::string> requires_attributes;  ///< union of @require of the permitting policies, sorted
};

/// All Policy and Consent resources at one moment, ready to be asked. Owns copies of what it needs; thread-safe to read.
class FlowPolicies {
 public:
  /// Reads all policies of `resources`. A policy without @id is named by its resource, with /policyN where that holds
  /// more than one. A Consent whose `expires` is at or before `now` does not count. Errors: those of parse_policies.
  [[nodiscard]] static Result<FlowPolicies> make(const ResourceSet& resources, std::chrono::sys_seconds now);

  /// Whether every attribute that a @require names exists: a Node, a BridgingFunction or an Attributes resource has it. An
  /// unknown one is a typo wherever it stands, also in a policy that permits nothing now. Errors: invalid_input, at the policy.
  [[nodiscard]] Result<> check_required(const ResourceSet& resources) const;

  /// Whether there is no policy at all: then every question is answered with no.
  [[nodiscard]] bool empty() const { return policies_.policies.empty(); }

  /// Whether data of `flow` may move from `source` to `destination`. Stricter than plain Cedar in one point: a forbid
  /// whose head fits and whose condition cannot be evaluated counts as forbidding (fail closed).
  [[nodiscard]] FlowDecision decide(const Application& application, const Flow& flow, DataDirection direction,
                                    const Node& source, const Node& destination) const;

  /// The moment from which the answers may differ although no resource changed: the next end of a Consent.
  [[nodiscard]] std::optional<std::chrono::sys_seconds> next_expiry() const;

 private:
  struct ConsentState {
    std::vector<std::string> subjects;  ///< of the valid consents, sorted
    std::string lacking;                ///< why there is none, in words; empty if there is one
  };

  [[nodiscard]] ConsentState consent(const std::string& flow, const std::string& purpose) const;
  [[nodiscard]] Entities entities(const Node& source, const Node& destination) const;
  [[nodiscard]] std::string jurisdiction(const std::string& domain) const;
  [[nodiscard]] std::string forbidden_reason(const std::vector<std::string>& ids) const;

  PolicySet policies_;
  std::map<std::string, Consent> consents_;
  std::map<std::string, Domain> domains_;
  std::chrono::sys_seconds now_{};
};

}  // namespace epif::policy
