#include "orchestrator/judgement.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "base/limits.h"
#include "model/image_reference.h"
#include "orchestrator/aliases.h"

namespace json = boost::json;

namespace epif::orchestrator {
namespace {

json::array texts(const std::vector<std::string>& list) {
  json::array out;
  for (const auto& text : list) out.emplace_back(text);
  return out;
}

ResourceSet only(const ResourceSet& all, const std::set<std::string>& applications) {
  auto part = all;
  std::erase_if(part.applications, [&](const auto& entry) { return !applications.contains(entry.first); });
  return part;
}

Verdict failed(std::string reason) { return {Verdict::Kind::failed, std::move(reason), {}, {}}; }

/// The planner takes a machine without addresses for one that has all of them; a route needs real ones.
std::string nginx_lacks(const ResourceSet& resources, const planner::Install& install) {
  const auto& client = resources.nodes.at(install.from);
  const auto& proxy = resources.proxies.at(install.proxies.front());
  for (const auto& server : resources.nodes.at(install.to).addresses) {
    const auto same = [&](const IpAddress& one) { return one.is_v6() == server.is_v6(); };
    const auto* family = server.is_v6() ? "IPv6" : "IPv4";
    if (std::ranges::none_of(client.addresses, same)) return fmt::format("{} has no {} address that NGINX could let in", install.from, family);
    if (std::ranges::none_of(proxy.addresses, same)) return fmt::format("proxy {} has no {} address", install.proxies.front(), family);
  }
  return {};
}

/// Why a feasible flow cannot be installed as planned; empty if it can. Fail closed: no route is made that means more.
std::string hindrance(const ResourceSet& resources, const planner::Install& install, const std::optional<Cidr>& alias_range) {
  if (const auto server = resources.nodes.find(install.to); server != resources.nodes.end()) {
    if (auto clash = alias_clash(server->first, server->second, alias_range); !clash.empty()) return clash;
  }
  for (const auto& name : install.proxies) {
    const auto proxy = resources.proxies.find(name);
    if (proxy == resources.proxies.end() || proxy->second.addresses.empty()) return "proxy " + name + " has no address";
    const auto held = std::ranges::count(install.chain, name, &planner::PlacedFunction::proxy);
    if (held > static_cast<std::ptrdiff_t>(limits::chain_max_functions)) {
      return fmt::format("{} functions on proxy {} are more than {}", held, name, limits::chain_max_functions);
    }
  }
  if (install.method == Method::nginx) {
    if (const auto lacking = nginx_lacks(resources, install); !lacking.empty()) return lacking;
  }
  for (const auto& placed : install.chain) {
    const auto& function = resources.functions.at(placed.function);
    if (function.image.empty()) return "BridgingFunction '" + placed.function + "' has no spec.image, so it can only be planned with";
    // The API takes no such image; a store that an older program wrote may hold one.
    if (auto pinned = check_image(function); !pinned) return pinned.error().text();
  }
  return {};
}

Verdict verdict_of(const ResourceSet& resources, const planner::Plan& plan, const std::string& application,
                   const std::optional<Cidr>& alias_range) {
  Verdict out;
  out.kind = Verdict::Kind::possible;
  for (const auto& flow : plan.flows) {
    if (flow.application != application) continue;
    out.flows.push_back(flow);
    const bool denied = flow.verdict == planner::Verdict::denied;
    if (!denied && flow.verdict != planner::Verdict::unfeasible) continue;
    // A denial weighs more than a lack of functions: it is the answer even if the function came.
    if (out.kind == Verdict::Kind::denied || (out.kind == Verdict::Kind::unfeasible && !denied)) continue;
    out.kind = denied ? Verdict::Kind::denied : Verdict::Kind::unfeasible;
    out.reason = fmt::format("flow {} ({}): {}", flow.flow, name(flow.direction), flow.reason);
  }
  for (const auto& install : plan.installs) {
    if (install.application != application) continue;
    out.installs.push_back(install);
    if (!install.feasible && out.kind == Verdict::Kind::possible) {
      out.kind = Verdict::Kind::failed;
      out.reason = fmt::format("flow {}: {}", install.flow, install.reason);
    }
    if (const auto why = hindrance(resources, install, alias_range); !why.empty() && out.kind == Verdict::Kind::possible) {
      out.kind = Verdict::Kind::failed;
      out.reason = fmt::format("flow {}: {}", install.flow, why);
    }
  }
  if (out.kind == Verdict::Kind::possible) out.reason = fmt::format("possible: all flows ({})", out.installs.size());
  return out;
}

std::string application_of(const std::string& flow) { return flow.substr(0, flow.find('/')); }

class Judge {
 public:
  Judge(const ResourceSet& resources, const std::vector<std::string>& order, planner::PlanOptions options,
        const std::optional<Cidr>& alias_range)
      : resources_(resources), order_(order), options_(std::move(options)), alias_range_(alias_range), left_(order.begin(), order.end()) {}

  Judgement run() {
    auto plan = planner::plan(only(resources_, left_), options_);
    if (!plan) {
      set_aside_what_cannot_be_planned();
      plan = planner::plan(only(resources_, left_), options_);
    }
    while (plan && set_aside_younger_of_conflicts(*plan)) plan = planner::plan(only(resources_, left_), options_);
    for (const auto& application : left_) {
      out_.applications[application] = plan ? verdict_of(resources_, *plan, application, alias_range_) : failed(plan.error().text());
    }
    if (plan) out_.plan = std::move(*plan);
    return std::move(out_);
  }

 private:
  void set_aside_what_cannot_be_planned() {
    for (const auto& application : order_) {
      auto alone = planner::plan(only(resources_, {application}), options_);
      if (alone) continue;
      out_.applications[application] = failed(alone.error().text());
      left_.erase(application);
    }
  }

  bool set_aside_younger_of_conflicts(const planner::Plan& plan) {
    const auto age = [&](const std::string& flow) { return std::ranges::find(order_, application_of(flow)); };
    std::map<std::string, std::string> losers;
    for (const auto& conflict : plan.conflicts) {
      const auto& younger = age(conflict.first) < age(conflict.second) ? conflict.second : conflict.first;
      losers.try_emplace(application_of(younger), conflict.reason);
    }
    for (const auto& [application, reason] : losers) {
      auto verdict = verdict_of(resources_, plan, application, alias_range_);
      verdict.kind = Verdict::Kind::failed;
      verdict.reason = "conflict: " + reason;
      out_.applications[application] = std::move(verdict);
      left_.erase(application);
    }
    return !losers.empty();
  }

  const ResourceSet& resources_;
  const std::vector<std::string>& order_;
  planner::PlanOptions options_;
  const std::optional<Cidr>& alias_range_;
  std::set<std::string> left_;
  Judgement out_;
};

}  // namespace

Judgement judge(const ResourceSet& resources, const std::vector<std::string>& oldest_first, const PolicySource& policies,
                std::chrono::sys_seconds now, const std::optional<Cidr>& alias_range) {
  auto engine = policies(resources, now);
  if (!engine) {
    Judgement out;
    for (const auto& application : oldest_first) out.applications[application] = failed(engine.error().text());
    return out;
  }
  return Judge(resources, oldest_first, {.policy = std::move(*engine), .what_if = {}}, alias_range).run();
}

std::string print_flows(const std::vector<planner::DirectionPlan>& flows) {
  json::array out;
  for (const auto& flow : flows) {
    std::vector<std::string> chain;
    for (const auto& placed : flow.chain) chain.push_back(placed.function);
    std::string policy;
    for (const auto& id : flow.policies) policy += (policy.empty() ? "" : ", ") + id;
    out.emplace_back(json::object{{"name", flow.flow},
                                  {"from", flow.from},
                                  {"to", flow.to},
                                  {"direction", name(flow.direction)},
                                  {"verdict", name(flow.verdict)},
                                  {"gap", texts(flow.gap)},
                                  {"missing", texts(flow.missing)},
                                  {"chain", texts(chain)},
                                  {"proxies", texts(flow.proxies)},
                                  {"method", name(flow.method)},
                                  {"policy", policy},
                                  {"reason", flow.reason},
                                  {"predicted_setup_ms", flow.predicted_setup_ms}});
  }
  return json::serialize(out);
}

}  // namespace epif::orchestrator
