#include "orchestrator/environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "model/document.h"
#include "orchestrator/installation.h"

namespace json = boost::json;

namespace epif::orchestrator {
namespace {

void fail_at(Environment& environment, Step step, std::string reason) {
  environment.status.phase = Phase::failed;
  environment.status.set(step, StepState::failed, reason);
  environment.status.reason = std::move(reason);
}

/// Why the application's part of a node is not in place; empty if it is.
std::string lacking(const std::string& node, const std::string& application, const Installation& installation,
                    std::uint64_t generation) {
  const auto report = installation.reports.find(node);
  if (report == installation.reports.end()) return "the agent of " + node + " has not reported yet";
  if (!report->second.errors.empty()) return node + ": " + report->second.errors.front();
  for (const auto& part : report->second.processes) {
    if (part.state != "running") return fmt::format("{}: {} is {}: {}", node, part.name, part.state, part.reason);
  }
  for (const auto& route : installation.assignments.at(node).routes.routes) {
    if (!route.flow.starts_with(application + "/")) continue;
    for (const auto& link : route.chain) {
      const auto& parts = report->second.instances;
      const auto part = std::ranges::find(parts, link.instance, &PartState::name);
      if (part == parts.end()) return fmt::format("{}: bridging function {} is being started", node, link.function);
      if (part->state != "running") {
        return fmt::format("{}: bridging function {} is {}: {}", node, link.function, part->state, part->reason);
      }
    }
  }
  if (report->second.generation < generation) return "the agent of " + node + " is putting it in place";
  return {};
}

/// An instance that cannot run at all, as opposed to one that is on its way.
std::string broken_instance(const Environment& environment, const Installation& installation) {
  for (const auto& [node, installed] : environment.status.installed) {
    const auto report = installation.reports.find(node);
    if (installed.content.empty() || report == installation.reports.end()) continue;
    for (const auto& route : installation.assignments.at(node).routes.routes) {
      if (!route.flow.starts_with(environment.name + "/")) continue;
      for (const auto& link : route.chain) {
        for (const auto& part : report->second.instances) {
          if (part.name == link.instance && part.state == "failed") {
            return fmt::format("{}: bridging function {} cannot run: {}", node, link.function, part.reason);
          }
        }
      }
    }
  }
  return {};
}

void update_installed(Environment& environment, const Installation& installation) {
  auto& installed = environment.status.installed;
  for (const auto& [node, assignment] : installation.assignments) {
    const auto content = content_of(assignment, environment.name);
    const auto before = environment.before.installed.find(node);
    if (before == environment.before.installed.end()) {
      if (!content.empty()) installed[node] = {content, installation.generations.at(node)};
    } else if (before->second.content == content) {
      installed[node] = before->second;
    } else {
      installed[node] = {content, installation.generations.at(node)};
    }
  }
  // A part that was taken away stays listed until the agent confirms that it is gone.
  std::erase_if(installed, [&](const auto& entry) {
    const auto report = installation.reports.find(entry.first);
    return entry.second.content.empty() && report != installation.reports.end() &&
           report->second.generation >= entry.second.generation;
  });
}

}  // namespace

std::vector<Environment> read_environments(const World& world) {
  std::vector<Environment> out;
  for (const auto& [name, record] : world.environments) {
    Environment environment{.name = name, .record = &record};
    if (auto before = parse_status(record.status)) environment.before = std::move(*before);
    auto request = parse_environment(record.spec);
    if (!request) {
      environment.verdict.reason = request.error().text();
    } else {
      environment.request = std::move(*request);
      auto resource = parse_resource(environment.request.application, "EnvironmentRequest/" + name);
      if (!resource) {
        environment.verdict.reason = resource.error().text();
      } else if (auto* application = std::get_if<Application>(&*resource); application && application->metadata.name == name) {
        environment.application = std::move(*application);
      } else {
        environment.verdict.reason = "EnvironmentRequest/" + name + " must hold the Application of that name";
      }
    }
    out.push_back(std::move(environment));
  }
  std::ranges::stable_sort(out, {}, [](const Environment& one) { return one.request.order; });
  return out;
}

Reports read_reports(const World& world) {
  Reports out;
  for (const auto& [name, record] : world.assignments) {
    if (record.status.empty() || parse_removal(record.spec)) continue;
    if (auto report = parse_report(record.status)) out.emplace(name, std::move(*report));
  }
  return out;
}

void follow_installation(Environment& environment, const Installation& installation) {
  auto& status = environment.status;
  update_installed(environment, installation);
  std::string waiting;
  for (const auto& [node, installed] : status.installed) {
    if (!waiting.empty() || !installation.assignments.contains(node)) continue;
    waiting = lacking(node, environment.name, installation, installed.generation);
  }
  if (environment.request.stop) {
    status.phase = status.installed.empty() ? Phase::stopped : Phase::stopping;
    status.reason = status.installed.empty() ? "stopped; nothing of it is left on any node"
                                             : "waiting for the agent of " + status.installed.begin()->first + " to confirm";
    return;
  }
  if (!environment.may_install) return;
  if (!environment.before.was_ready || environment.before.observed != environment.record->generation) {
    if (const auto broken = broken_instance(environment, installation); !broken.empty()) {
      fail_at(environment, Step::orchestrate_networking, broken + "; put it right, then stop and submit the application");
      return;  // the caller's next pass takes the installation away, since the latch is set
    }
  } else {
    status.was_ready = true;
  }
  status.phase = Phase::networking;
  if (!waiting.empty()) {
    status.set(Step::orchestrate_networking, StepState::waiting, waiting);
    status.reason = std::move(waiting);
    return;
  }
  status.set(Step::orchestrate_networking, StepState::done,
             fmt::format("{} nodes have their routes", status.installed.size()));
  status.set(Step::ready, StepState::done, "the infrastructure is ready");
  status.phase = Phase::ready;
  status.was_ready = true;
  status.reason = "ready";
}

std::string latch_of(const Environment& environment, const ResourceSet& resources) {
  std::string text = environment.request.application;
  for (const auto& install : environment.verdict.installs) {
    for (const auto& placed : install.chain) {
      const auto function = resources.functions.find(placed.function);
      if (function != resources.functions.end()) text += to_json(function->second);
      text += placed.proxy;
    }
  }
  return std::to_string(std::hash<std::string>{}(text));
}

std::string metadata_of(const std::string& full_name) {
  const auto slash = full_name.find('/');
  json::object out{{"name", slash == std::string::npos ? full_name : full_name.substr(slash + 1)}};
  if (slash != std::string::npos) out["domain"] = full_name.substr(0, slash);
  return json::serialize(out);
}

std::string audit_entry(const Environment& environment, const std::string& policy_version) {
  json::array flows;
  for (const auto& flow : environment.verdict.flows) {
    json::array policies;
    for (const auto& id : flow.policies) policies.emplace_back(id);
    flows.emplace_back(json::object{{"name", flow.flow},
                                    {"direction", name(flow.direction)},
                                    {"verdict", planner::name(flow.verdict)},
                                    {"policies", std::move(policies)}});
  }
  return json::serialize(json::object{{"who", "orchestrator"},
                                      {"what", "application " + environment.name},
                                      {"decision", name(environment.status.phase)},
                                      {"reason", environment.status.reason},
                                      {"purpose", environment.application ? environment.application->purpose : ""},
                                      {"flows", std::move(flows)},
                                      {"policyVersion", policy_version}});
}

}  // namespace epif::orchestrator
