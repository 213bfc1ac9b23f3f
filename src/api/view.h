#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/store.h"

/// Resources in words, as the command line shows them. Pure.
namespace epif::api {

/// A kind as a user types it ("nodes", "Policy", "accessrequests") as the API's paths take it.
[[nodiscard]] std::string kind_word(std::string_view typed);

/// One aligned line a resource, with a headline; `wide` adds generation, version and the spec.
[[nodiscard]] std::string table(const store::Listing& listing, bool wide);
/// Spec and status of one resource as indented text.
[[nodiscard]] std::string describe(const store::Record& record);
/// The document a user could apply again, in YAML.
[[nodiscard]] std::string yaml(const store::Record& record);
/// The API's JSON, indented.
[[nodiscard]] std::string pretty_record(const store::Record& record);

/// One of the eight steps of an application's way (Fig. 1).
struct StepLine {
  int number = 0;
  std::string step;
  std::string state;  ///< pending, waiting, done, failed, not-needed
  std::string reason;
  friend bool operator==(const StepLine&, const StepLine&) = default;
  [[nodiscard]] std::string text() const;
};

/// What an Application's status says; empty phase if the orchestrator has not looked yet.
struct ApplicationView {
  std::string phase;
  std::string reason;
  std::uint64_t observed = 0;  ///< the generation that this is about
  std::vector<StepLine> steps;
  std::string flows;           ///< aligned lines: flow, direction, verdict, chain, reason

  [[nodiscard]] static ApplicationView of(const store::Record& application);
  /// The status is about `generation` and the phase does not change by itself any more.
  [[nodiscard]] bool settled(std::uint64_t generation) const;
  [[nodiscard]] bool refused() const { return phase == "Denied" || phase == "Unfeasible"; }
  [[nodiscard]] bool failed() const { return phase == "Failed"; }
};

/// Everything known about one flow of an application, a paragraph a direction. `possible`: no direction is denied or
/// unfeasible. not_found names the flows that there are.
struct FlowView {
  std::string text;
  bool possible = true;
};
[[nodiscard]] Result<FlowView> explain(const store::Record& application, std::string_view flow);

}  // namespace epif::api
