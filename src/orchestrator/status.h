#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

/// The state machine that users see: the eight steps of the article's Fig. 1 and the phase they add up to. Pure.
namespace epif::orchestrator {

/// Numbered as in Fig. 1.
enum class Step {
  submit = 1,                ///< the application is known
  submit_infrastructure,     ///< the infrastructure orchestrator judged its flows: policy, area logic
  request_access,            ///< every domain's authoriser said yes
  request_nodes,             ///< every domain's provisioner said yes
  receive_nodes,             ///< the agents of these nodes are there, proxies with their public key
  orchestrate_networking,    ///< routes, redirectors, proxies and bridging functions are in place
  ready,                     ///< the infrastructure is ready
  orchestrate_application,   ///< the application's own work may run
};
inline constexpr int steps = 8;

enum class StepState { pending, waiting, done, failed, not_needed };
enum class Phase {
  submitted, policy_checked, access_granted, nodes_granted, networking, ready, running,
  stopping, stopped, denied, unfeasible, failed,
};

[[nodiscard]] std::string_view name(Step step);
[[nodiscard]] std::string_view name(StepState state);
[[nodiscard]] std::string_view name(Phase phase);  ///< as in interface.md: "PolicyChecked"

struct Condition {
  StepState state = StepState::pending;
  std::string reason;  ///< for people
  std::string time;    ///< UTC, when `state` or `reason` last changed
  friend bool operator==(const Condition&, const Condition&) = default;
};

/// Which content of one application a node was last given, and in which generation of its Assignment.
struct Installed {
  std::string content;           ///< fingerprint of the application's routes there
  std::uint64_t generation = 0;  ///< its agent must have reported this one or a later
  friend bool operator==(const Installed&, const Installed&) = default;
};

/// Status of EnvironmentRequest; an Application's status is the same without `installed`, `latch` and `was_ready`.
struct Status {
  Phase phase = Phase::submitted;
  std::string reason;
  std::array<Condition, steps> conditions;
  std::string flows = "[]";  ///< JSON array, one object a flow and data direction, as `epif plan` prints them
  std::map<std::string, Installed> installed;  ///< by "domain/node"
  std::uint64_t observed = 0;  ///< `observedGeneration`: the generation of the resource that all of this is about
  std::string latch;         ///< of a failure: fingerprint of what failed; not tried again while it stays
  bool was_ready = false;    ///< reached Ready with this content
  friend bool operator==(const Status&, const Status&) = default;

  [[nodiscard]] Condition& at(Step step) { return conditions[static_cast<std::size_t>(step) - 1]; }
  [[nodiscard]] const Condition& at(Step step) const { return conditions[static_cast<std::size_t>(step) - 1]; }
  void set(Step step, StepState state, std::string why) { at(step) = {state, std::move(why), {}}; }
};

/// Copies the time of every condition that says the same as in `before`; stamps the others with `now`.
void keep_times(Status& status, const Status& before, std::string_view now);

enum class Detail { internal, user };  ///< user: what an Application shows
[[nodiscard]] std::string print(const Status& status, Detail detail);
/// An empty text is a fresh status.
[[nodiscard]] Result<Status> parse_status(std::string_view json);

/// UTC with milliseconds: "2026-11-22T02:30:00.123Z".
[[nodiscard]] std::string print_instant(std::chrono::system_clock::time_point time);

}  // namespace epif::orchestrator
