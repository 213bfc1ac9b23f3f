#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/assignment.h"
#include "model/resource.h"
#include "orchestrator/judgement.h"
#include "orchestrator/status.h"
#include "orchestrator/world.h"

/// One EnvironmentRequest on its way through a pass, and what its agents say. Pure.
namespace epif::orchestrator {

struct Environment {
  std::string name;
  const store::Record* record = nullptr;
  EnvironmentRequest request{};
  std::optional<Application> application{};  ///< absent: the request does not parse (the status says why)
  Status before{};
  Status status{};
  Verdict verdict{};
  bool may_install = false;  ///< all domains said yes; steps 2 to 5 are done
};

/// Oldest first.
[[nodiscard]] std::vector<Environment> read_environments(const World& world);

using Reports = std::map<std::string, AssignmentReport>;  ///< by "domain/node"; only nodes whose agent reported
[[nodiscard]] Reports read_reports(const World& world);

/// What the pass is about to install.
struct Installation {
  const std::map<std::string, Assignment>& assignments;
  const std::map<std::string, std::uint64_t>& generations;  ///< of the Assignments once the pass is committed
  const Reports& reports;
};
/// Steps 6 and 7, and the end of a stop: compares what was asked of each node with what its agent reports.
void follow_installation(Environment& environment, const Installation& installation);

/// Fingerprint of what a failed installation depended on. While it is the same, it is not tried again.
[[nodiscard]] std::string latch_of(const Environment& environment, const ResourceSet& resources);

/// metadata of a record that the orchestrator writes: {"name","domain"}.
[[nodiscard]] std::string metadata_of(const std::string& full_name);
/// One audit line: who decided what about which flows, by which version of the policies.
[[nodiscard]] std::string audit_entry(const Environment& environment, const std::string& policy_version);

}  // namespace epif::orchestrator
