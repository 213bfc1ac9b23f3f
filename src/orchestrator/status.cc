#include "orchestrator/status.h"

#include <fmt/chrono.h>

#include <boost/json.hpp>

namespace json = boost::json;

namespace epif::orchestrator {
namespace {

constexpr std::array step_names{"Submit",       "SubmitInfrastructure",  "RequestAccess", "RequestNodes",
                                "ReceiveNodes", "OrchestrateNetworking", "Ready",         "OrchestrateApplication"};
constexpr std::array state_names{"pending", "waiting", "done", "failed", "not-needed"};
constexpr std::array phase_names{"Submitted", "PolicyChecked", "AccessGranted", "NodesGranted", "Networking", "Ready",
                                 "Running",   "Stopping",      "Stopped",       "Denied",       "Unfeasible", "Failed"};

template <class Names>
std::size_t index_of(const Names& names, std::string_view word) {
  const auto found = std::find(names.begin(), names.end(), word);
  return found == names.end() ? 0 : static_cast<std::size_t>(found - names.begin());
}

std::string text(const json::object& from, std::string_view field) {
  const auto* value = from.if_contains(field);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

void read(const json::object& from, Status& out) {
  out.phase = static_cast<Phase>(index_of(phase_names, text(from, "phase")));
  out.reason = text(from, "reason");
  if (const auto* observed = from.if_contains("observedGeneration")) out.observed = observed->to_number<std::uint64_t>();
  if (const auto* conditions = from.if_contains("conditions")) {
    for (const auto& item : conditions->as_array()) {
      const auto& condition = item.as_object();
      const auto at = index_of(step_names, text(condition, "step"));
      out.conditions[at] = {static_cast<StepState>(index_of(state_names, text(condition, "status"))),
                            text(condition, "reason"), text(condition, "time")};
    }
  }
  if (const auto* flows = from.if_contains("flows")) out.flows = json::serialize(flows->as_array());
  if (const auto* installed = from.if_contains("installed")) {
    for (const auto& [node, value] : installed->as_object()) {
      const auto& entry = value.as_object();
      out.installed[node] = {text(entry, "content"), entry.at("generation").to_number<std::uint64_t>()};
    }
  }
  out.latch = text(from, "latch");
  if (const auto* was_ready = from.if_contains("wasReady")) out.was_ready = was_ready->as_bool();
}

}  // namespace

std::string_view name(Step step) { return step_names[static_cast<std::size_t>(step) - 1]; }
std::string_view name(StepState state) { return state_names[static_cast<std::size_t>(state)]; }
std::string_view name(Phase phase) { return phase_names[static_cast<std::size_t>(phase)]; }

void keep_times(Status& status, const Status& before, std::string_view now) {
  for (std::size_t i = 0; i < status.conditions.size(); ++i) {
    auto& condition = status.conditions[i];
    const auto& old = before.conditions[i];
    const bool same = old.state == condition.state && old.reason == condition.reason;
    condition.time = same ? old.time : condition.state == StepState::pending ? std::string() : std::string(now);
  }
}

std::string print(const Status& status, Detail detail) {
  json::array conditions;
  for (std::size_t i = 0; i < status.conditions.size(); ++i) {
    const auto& condition = status.conditions[i];
    conditions.emplace_back(json::object{{"number", i + 1},
                                         {"step", step_names[i]},
                                         {"status", name(condition.state)},
                                         {"reason", condition.reason},
                                         {"time", condition.time}});
  }
  json::object out{{"phase", name(status.phase)}, {"reason", status.reason}, {"observedGeneration", status.observed}, {"conditions", std::move(conditions)}};
  out["flows"] = json::parse(status.flows);
  if (detail == Detail::internal) {
    json::object installed;
    for (const auto& [node, entry] : status.installed) {
      installed[node] = json::object{{"content", entry.content}, {"generation", entry.generation}};
    }
    out["installed"] = std::move(installed);
    out["latch"] = status.latch;
    out["wasReady"] = status.was_ready;
  }
  return json::serialize(out);
}

Result<Status> parse_status(std::string_view document) {
  Status out;
  if (document.empty()) return out;
  boost::system::error_code error;
  const auto value = json::parse(document, error);
  if (error || !value.is_object()) return fail(Code::invalid_input, "a stored status is not a JSON object");
  try {
    read(value.get_object(), out);
  } catch (const std::exception& wrong) {
    return fail(Code::invalid_input, "a stored status has a field of the wrong type", {}, wrong.what());
  }
  return out;
}

std::string print_instant(std::chrono::system_clock::time_point time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)), rest);
}

}  // namespace epif::orchestrator
