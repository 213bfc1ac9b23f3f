#include "orchestrator/requests.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "orchestrator/installation.h"

namespace epif::orchestrator {
namespace {

void end(Environment& environment, Phase phase, Step step, std::string reason) {
  environment.status.phase = phase;
  environment.status.set(step, StepState::failed, reason);
  environment.status.reason = std::move(reason);
}

Phase phase_of(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::denied: return Phase::denied;
    case Verdict::Kind::unfeasible: return Phase::unfeasible;
    default: return Phase::failed;
  }
}

bool all_local(const Environment& environment) {
  return std::ranges::all_of(environment.verdict.installs, [](const auto& install) { return is_local(install); });
}

std::string join_words(const std::string& node) {
  return "waiting for " + node + " to join: run `epif agent --orchestrator URL --token TOKEN --node " + node + "` there";
}

}  // namespace

void Requests::advance(Environment& environment) {
  auto& status = environment.status;
  if (environment.request.stop) {
    status.flows = environment.before.flows;
    return;
  }
  if (!judge_flows(environment)) return;
  status.set(Step::submit_infrastructure, StepState::done, environment.verdict.reason);
  status.phase = Phase::policy_checked;
  if (all_local(environment)) {
    for (const auto step : {Step::request_access, Step::request_nodes, Step::receive_nodes}) {
      status.set(step, StepState::not_needed, "all flows stay inside of one domain");
    }
    environment.may_install = true;
    return;
  }
  const auto wanted = requests_of(environment);
  for (const auto& [name, request] : wanted) {
    auto access = request;
    access.nodes.clear();
    access.images.clear();
    access_[name] = std::move(access);
  }
  Wanted mine;
  for (const auto& [name, request] : wanted) mine[name] = access_[name];
  const auto access = ask(mine, world_.access, "authoriser");
  if (access.state == StepState::failed) return end(environment, Phase::denied, Step::request_access, access.reason);
  status.set(Step::request_access, access.state, access.reason);
  status.reason = access.reason;
  if (access.state != StepState::done) return;

  status.phase = Phase::access_granted;
  nodes_.insert(wanted.begin(), wanted.end());
  const auto nodes = ask(wanted, world_.nodes, "provisioner");
  if (nodes.state == StepState::failed) return end(environment, Phase::failed, Step::request_nodes, nodes.reason);
  status.set(Step::request_nodes, nodes.state, nodes.reason);
  status.reason = nodes.reason;
  if (nodes.state != StepState::done) return;

  status.phase = Phase::nodes_granted;
  const auto received = receive(environment);
  if (received.state == StepState::failed) return end(environment, Phase::failed, Step::receive_nodes, received.reason);
  status.set(Step::receive_nodes, received.state, received.reason);
  status.reason = received.reason;
  environment.may_install = received.state == StepState::done;
}

void Requests::start_over(Environment& environment) {
  for (const auto& [name, request] : requests_of(environment)) {
    access_.erase(name);
    nodes_.erase(name);
  }
  environment.status = {};
  environment.may_install = false;
  advance(environment);
}

bool Requests::judge_flows(Environment& environment) const {
  auto& status = environment.status;
  const auto verdict = judgement_.applications.find(environment.name);
  if (verdict != judgement_.applications.end()) environment.verdict = verdict->second;
  status.flows = print_flows(environment.verdict.flows);
  if (environment.verdict.kind != Verdict::Kind::possible) {
    end(environment, phase_of(environment.verdict.kind), Step::submit_infrastructure, environment.verdict.reason);
    return false;
  }
  if (!environment.before.latch.empty() && environment.before.latch == latch_of(environment, world_.resources)) {
    status.latch = environment.before.latch;
    status.set(Step::submit_infrastructure, StepState::done, environment.verdict.reason);
    end(environment, Phase::failed, Step::orchestrate_networking, environment.before.reason);
    return false;
  }
  return true;
}

Requests::Wanted Requests::requests_of(const Environment& environment) const {
  Wanted out;
  std::set<std::string> involved;
  for (const auto& install : environment.verdict.installs) {
    if (is_local(install)) continue;
    auto nodes = participants(install);
    nodes.insert(install.to);
    std::set<std::string> domains;
    for (const auto& node : nodes) domains.insert(domain_of(node));
    involved.insert(nodes.begin(), nodes.end());
    RequestedFlow flow{install.flow, install.from, install.to, install.port, std::string(name(install.data)), {},
                       install.proxies};
    for (const auto& placed : install.chain) flow.chain.push_back(placed.function);
    for (const auto& domain : domains) {
      auto& request = out[domain + "/" + environment.name];
      request.application = environment.name;
      request.purpose = install.purpose;
      request.domain = domain;
      request.flows.push_back(flow);
      for (const auto& node : nodes) {
        if (domain_of(node) == domain) request.nodes.push_back(node);
      }
      for (const auto& placed : install.chain) {
        if (domain_of(placed.proxy) == domain) request.images.push_back(world_.resources.functions.at(placed.function).image);
      }
    }
  }
  for (auto& [name, request] : out) {
    for (auto* list : {&request.nodes, &request.images}) {
      std::ranges::sort(*list);
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
    request.answerer = answerer(request.domain, involved);
  }
  return out;
}

/// The member that speaks for a domain: a proxy node on the path, else any proxy node of the domain, else a node that takes
/// part; the first by name.
std::string Requests::answerer(const std::string& domain, const std::set<std::string>& involved) const {
  const auto first = [&](const auto& known, bool only_involved) -> std::string {
    for (const auto& [name, machine] : known) {
      if (machine.metadata.domain == domain && (!only_involved || involved.contains(name))) return name;
    }
    return {};
  };
  for (auto name : {first(world_.resources.proxies, true), first(world_.resources.proxies, false)}) {
    if (!name.empty()) return name;
  }
  return first(world_.resources.nodes, true);
}

Requests::Answered Requests::ask(const Wanted& wanted, const std::map<std::string, store::Record>& existing,
                                 std::string_view what) {
  Answered out;
  std::string granted;
  for (const auto& [name, request] : wanted) {
    const auto record = existing.find(name);
    std::optional<DomainAnswer> answer;
    if (record != existing.end() && !record->second.status.empty()) {
      if (auto parsed = parse_answer(record->second.status)) answer = std::move(*parsed);
    }
    if (!answer || answer->question != request.question()) {
      if (out.state == StepState::done) {
        out = {StepState::waiting, fmt::format("waiting for the {} of {} ({})", what, request.domain, request.answerer)};
      }
    } else if (!answer->granted) {
      return {StepState::failed, fmt::format("the {} of {} refused: {}", what, request.domain, answer->reason)};
    } else {
      granted += (granted.empty() ? "" : ", ") + request.domain;
    }
  }
  if (out.state == StepState::done) out.reason = "granted by " + granted;
  return out;
}

Requests::Answered Requests::receive(const Environment& environment) const {
  std::set<std::string> nodes;
  for (const auto& install : environment.verdict.installs) nodes.merge(participants(install));
  const bool running = environment.before.was_ready && environment.before.observed == environment.record->generation;
  for (const auto& node : nodes) {
    const auto report = reports_.find(node);
    if (report == reports_.end()) return {StepState::waiting, join_words(node)};
    if (world_.resources.proxies.contains(node) && report->second.public_key.empty()) {
      return {StepState::waiting, "waiting for the public key of " + node};
    }
    if (running) continue;  // what runs goes on without its agent
    for (const auto& part : report->second.processes) {
      if (part.state == "failed") return {StepState::failed, fmt::format("{}: {} cannot run: {}", node, part.name, part.reason)};
    }
    const auto silent = print_instant(now_ - std::chrono::seconds(limits::agent_silent_s));
    if (report->second.seen < silent) {
      return {StepState::waiting, fmt::format("the agent of {} is silent since {}", node, report->second.seen)};
    }
  }
  return {StepState::done, fmt::format("{} nodes are there", nodes.size())};
}

}  // namespace epif::orchestrator
