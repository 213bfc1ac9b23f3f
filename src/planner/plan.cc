#include "planner/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/limits.h"
#include "planner/choose.h"
#include "planner/conflict.h"
#include "planner/judge.h"
#include "planner/misspelling.h"
#include "planner/path.h"
#include "planner/permission.h"
#include "planner/words.h"

namespace epif::planner {
namespace {

/// Everything that one run of the planner looks at.
struct Planning {
  const ResourceSet& resources;
  const PlanOptions& options;
  const Landscape& landscape;
  const Catalog& catalog;
  Chooser& chooser;
};

/// One direction after its verdict, with what the installed chain needs of it.
struct Judged {
  DirectionPlan plan;
  Bits gap;
  Path path;
  Bits required{};  ///< what policies ask for
};

Result<Judged> judge_direction(const Planning& planning, const Application& application, const Flow& flow,
                               DataDirection direction, const Landscape::Site& client, const Landscape::Site& server) {
  const bool push = direction == DataDirection::push;
  const auto& source = push ? client : server;
  const auto& destination = push ? server : client;
  Judged judged;
  auto& plan = judged.plan;
  plan.application = application.metadata.name;
  plan.flow = flow.name;
  plan.from = flow.from;
  plan.to = flow.to;
  plan.direction = direction;

  auto permission = ask_permission(planning.resources, planning.landscape, planning.options.policy,
                                   {application, flow, direction, *source.node, *destination.node});
  if (!permission) return fail(std::move(permission.error()));
  plan.policies = std::move(permission->policies);
  if (!permission->granted) {
    judged.gap = gap_between(source, destination, permission->required, planning.options.gap);
    plan.gap = planning.landscape.names(judged.gap);
    plan.verdict = Verdict::denied;
    plan.reason = std::move(permission->reason) + ".";
    return judged;
  }
  auto judgement = judge(planning.landscape, planning.chooser, source, destination, permission->required, flow.volume,
                         planning.options.gap);
  if (!judgement) return fail(std::move(judgement.error()));
  plan.verdict = judgement->verdict;
  judged.required = permission->required;
  judged.gap = std::move(judgement->gap);
  plan.gap = planning.landscape.names(judged.gap);

  const Told told{planning.landscape, planning.catalog, push ? flow.from : flow.to, push ? flow.to : flow.from,
                  planning.landscape.ends(source, destination)};
  if (plan.verdict == Verdict::unfeasible) {
    plan.missing = planning.landscape.names(judgement->choice->missing);
    plan.reason = unfeasible_reason(told, plan.gap, *judgement->choice, planning.options.gap);
    return judged;
  }
  if (plan.verdict == Verdict::bridged && flow.protocol == Protocol::udp) {
    plan.verdict = Verdict::unfeasible;
    plan.missing = plan.gap;
    plan.reason = datagram_reason(told, plan.gap, planning.options.gap);
    return judged;
  }
  static const std::vector<Step> no_steps;
  const auto& steps = judgement->choice ? judgement->choice->steps : no_steps;
  judged.path = make_path(planning.catalog, planning.landscape, client, server, steps, push);
  plan.chain = judged.path.chain;
  plan.proxies = judged.path.proxies;
  plan.reason = plan.verdict == Verdict::bridged ? bridged_reason(told, plan.gap, plan.chain, planning.options.gap)
                                                 : supported_reason(told, *permission, planning.options.gap);
  return judged;
}

/// The one chain of the connection. Seen from the client, unless only the data that it pulls has a gap.
Result<Path> installed_path(const Planning& planning, const Flow& flow, const std::vector<Judged>& directions,
                            const Landscape::Site& client, const Landscape::Site& server, bool& in_order) {
  in_order = true;
  const auto with_gap = std::ranges::count_if(directions, [](const Judged& judged) { return !judged.gap.empty(); });
  if (with_gap < 2) {
    const auto at = std::ranges::find_if(directions, [](const Judged& judged) { return !judged.gap.empty(); });
    return at == directions.end() ? directions.front().path : at->path;
  }
  const auto choice =
      planning.chooser.choose({directions[0].gap, directions[1].gap, planning.landscape.ends(client, server), flow.volume});
  if (!choice) return fail(choice.error());
  in_order = (*choice)->feasible;
  if (!in_order) return Path{};
  return make_path(planning.catalog, planning.landscape, client, server, (*choice)->steps, true);
}

/// How the connection is carried; the same for all its directions.
struct Carriage {
  Method method = Method::automatic;
  Latency latency;
  std::string reason;
};

Carriage carriage(const Planning& planning, const Flow& flow, const Path& path, const Landscape::Site& client,
                  const Landscape::Site& server, const AttributeSet& required) {
  const auto& proxies = planning.resources.proxies;
  const auto proxy = path.proxies.empty() ? proxies.end() : proxies.find(path.proxies.front());
  const auto against = against_nginx(flow, path, *client.node, *server.node, proxy == proxies.end() ? nullptr : &proxy->second, required);
  auto [method, reason] = choose_method(flow, path, against);
  return {method, predict(planning.landscape, client, server, path, method), std::move(reason)};
}

Result<> plan_flow(const Planning& planning, const Application& application, const Flow& flow, Plan& plan) {
  const auto& client = planning.landscape.sites()[planning.landscape.site_of(flow.from)];
  const auto& server = planning.landscape.sites()[planning.landscape.site_of(flow.to)];
  std::vector<Judged> directions;
  for (const auto direction : {DataDirection::push, DataDirection::pull}) {
    if (flow.data != DataDirection::both && flow.data != direction) continue;
    auto judged = judge_direction(planning, application, flow, direction, client, server);
    if (!judged) return fail(std::move(judged.error()));
    directions.push_back(std::move(*judged));
  }
  Install install{application.metadata.name,
                  flow.name,
                  application.purpose,
                  flow.from,
                  flow.to,
                  flow.port,
                  flow.protocol,
                  flow.data,
                  flow.selector,
                  true,
                  {},
                  {},
                  Method::automatic,
                  {},
                  {},
                  0};
  std::set<std::string> policies;
  Bits asked;
  for (const auto& [direction, gap, path, required] : directions) {
    asked |= required;
    policies.insert(direction.policies.begin(), direction.policies.end());
    if (direction.verdict == Verdict::supported || direction.verdict == Verdict::bridged) continue;
    install.feasible = false;
    install.reason += fmt::format("{}{} {}: {}", install.reason.empty() ? "" : " ", name(direction.direction),
                                  name(direction.verdict), direction.reason);
  }
  install.policies.assign(policies.begin(), policies.end());
  const auto required = planning.landscape.names(asked);
  Path path;
  if (install.feasible) {
    bool in_order = true;
    auto installed = installed_path(planning, flow, directions, client, server, in_order);
    if (!installed) return fail(std::move(installed.error()));
    path = std::move(*installed);
    if (!in_order) {
      install.feasible = false;
      install.reason = "No one chain serves both directions: the order of its functions contradicts their places.";
    }
  }
  if (install.feasible) {
    auto carried = carriage(planning, flow, path, client, server, required);
    install.method = carried.method;
    install.predicted_setup_ms = carried.latency.setup_ms;
    install.reason = std::move(carried.reason);
    install.chain = path.chain;
    install.proxies = path.proxies;
  }
  for (auto& [direction, gap, own_path, own_required] : directions) {
    if (direction.verdict == Verdict::supported || direction.verdict == Verdict::bridged) {
      const auto carried = carriage(planning, flow, install.feasible ? path : own_path, client, server, required);
      direction.method = carried.method;
      direction.predicted_setup_ms = carried.latency.setup_ms;
      direction.floor_ms = carried.latency.floor_ms;
      direction.reason += " " + carried.reason;
    }
    plan.flows.push_back(std::move(direction));
  }
  plan.installs.push_back(std::move(install));
  return {};
}

void add_warnings(const ResourceSet& resources, const PlanOptions& options, Plan& plan) {
  if (resources.policies.empty()) {
    plan.warnings.push_back("no Policy in the input: every flow is taken as permitted");
  }
  if (options.gap == GapRule::printed) {
    plan.warnings.push_back(
        "--gap=printed reads Eq. 5 as printed, the gap of the other direction: data may reach weaker "
        "nodes without any function; for comparison only, never install this plan");
  }
  if (plan.areas.size() > limits::plan_channel_areas) {
    plan.warnings.push_back(
        fmt::format("{} areas: channels are listed up to {} areas only", plan.areas.size(), limits::plan_channel_areas));
  }
  std::set<std::string_view> used;
  for (const auto& [full_name, node] : resources.nodes) used.insert(node.metadata.domain);
  for (const auto& [full_name, proxy] : resources.proxies) used.insert(proxy.metadata.domain);
  for (const auto& [full_name, domain] : resources.domains) {
    if (!used.contains(full_name))
      plan.warnings.push_back(fmt::format("Domain '{}' has no machine; is its name right?", full_name));
  }
  for (auto& warning : misspellings(resources, plan.areas)) plan.warnings.push_back(std::move(warning));
}

double unfeasibility_ratio(const std::vector<DirectionPlan>& flows) {
  const auto unfeasible = std::ranges::count(flows, Verdict::unfeasible, &DirectionPlan::verdict);
  const auto bridged = std::ranges::count(flows, Verdict::bridged, &DirectionPlan::verdict);
  if (unfeasible + bridged == 0) return 0;
  return static_cast<double>(unfeasible) / static_cast<double>(unfeasible + bridged);
}

}  // namespace

std::string_view name(Verdict verdict) {
  switch (verdict) {
    case Verdict::supported: return "supported";
    case Verdict::bridged: return "bridged";
    case Verdict::unfeasible: return "unfeasible";
    case Verdict::denied: break;
  }
  return "denied";
}

bool Plan::all_possible() const {
  return std::ranges::all_of(installs, &Install::feasible);
}

Result<WhatIf> WhatIf::parse(std::string_view text) {
  for (const auto* sign : {"+=", "-="}) {
    const auto at = text.find(sign);
    if (at == std::string_view::npos || at == 0 || at + 2 == text.size()) continue;
    return WhatIf{std::string(text.substr(0, at)), std::string(text.substr(at + 2)), *sign == '+'};
  }
  return fail(Code::usage, fmt::format("'{}' is not a what-if", text), "--what-if", {},
              "write DOMAIN/NODE+=ATTRIBUTE or -=");
}

Result<Plan> plan(const ResourceSet& resources, const PlanOptions& options) {
  if (auto sound = resources.check(); !sound) return fail(std::move(sound.error()));
  if (!resources.policies.empty() && !options.policy) {
    return fail(Code::unsupported, "the input holds policies and there is no policy engine to ask",
                resources.policies.begin()->second.metadata.origin.text(), "a policy is never passed over");
  }
  Landscape landscape(resources);
  if (auto applied = landscape.apply(options.what_if); !applied) return fail(std::move(applied.error()));
  const auto catalog = Catalog::make(resources, landscape);
  if (!catalog) return fail(catalog.error());
  Chooser chooser(*catalog);
  const Planning planning{resources, options, landscape, *catalog, chooser};

  Plan plan;
  std::vector<Bits> members;
  plan.areas = group(landscape, &members);
  if (plan.areas.size() <= limits::plan_channel_areas) plan.channels = channels(members);
  for (const auto& [full_name, application] : resources.applications) {
    for (const auto& flow : application.flows) {
      if (auto planned = plan_flow(planning, application, flow, plan); !planned) return fail(std::move(planned.error()));
    }
  }
  plan.conflicts = settle_conflicts(plan.installs);
  plan.unfeasibility_ratio = unfeasibility_ratio(plan.flows);
  add_warnings(resources, options, plan);
  return plan;
}

}  // namespace epif::planner
