#pragma once
#include <chrono>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/ip.h"
#include "orchestrator/judgement.h"
#include "store/store.h"

namespace epif::orchestrator {

/// The infrastructure orchestrator (Fig. 1, steps 2 to 7): makes the domains of every EnvironmentRequest ready.
///
/// Level-triggered: a pass reads the whole store, judges everything again and commits what differs, in one transaction; it
/// keeps nothing in between, so a crash at any point is followed by the same pass. What a request no longer needs (or may no
/// longer have) disappears in the same transaction that says so: routes, instances, access and node requests.
class InfrastructureOrchestrator {
 public:
  using Time = std::chrono::system_clock::time_point;
  /// `alias_range`: from which named nodes get the addresses by which programs of other domains reach them; see aliases.h.
  InfrastructureOrchestrator(store::Store& store, PolicySource policies, std::optional<Cidr> alias_range = {})
      : store_(store), policies_(std::move(policies)), alias_range_(alias_range) {}

  /// One pass. Errors: the store's; conflict and not_found mean that something changed meanwhile: run it again.
  [[nodiscard]] Result<> reconcile(Time now);
  /// When to run again although nothing was written: a consent ends, or expiries are due for renewal.
  [[nodiscard]] Time next_look() const { return next_look_; }

 private:
  store::Store& store_;
  PolicySource policies_;
  std::optional<Cidr> alias_range_;
  Time next_look_{};
};

}  // namespace epif::orchestrator
