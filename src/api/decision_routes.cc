#include <fmt/format.h>

#include <boost/json.hpp>
#include <chrono>

#include "api/endpoints.h"
#include "model/document.h"
#include "planner/plan.h"
#include "policy/flow_request.h"

namespace epif::api {
namespace {

namespace json = boost::json;

std::chrono::sys_seconds now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

Result<std::string> plan_of(const ResourceSet& resources) {
  planner::PlanOptions options;
  if (!resources.policies.empty()) {
    auto policies = policy::FlowPolicies::make(resources, now());
    if (!policies) return fail(std::move(policies.error()));
    if (auto known = policies->check_required(resources); !known) return fail(std::move(known.error()));
    options.policy = [shared = std::make_shared<policy::FlowPolicies>(std::move(*policies))](
                         const planner::PolicyQuery& query) -> Result<planner::PolicyDecision> {
      auto answer = shared->decide(query.application, query.flow, query.direction, query.source, query.destination);
      return planner::PolicyDecision{answer.permitted, std::move(answer.policies), std::move(answer.reason), std::move(answer.requires_attributes)};
    };
  }
  auto plan = planner::plan(resources, options);
  if (!plan) return fail(std::move(plan.error()));
  return planner::print_json(*plan);
}

Response only_administrators(const Request& request) {
  return error_response({Code::denied, request.caller.text() + " may not ask for this", request.path, {}, {}});
}

Reply plan_stored(const Shared& shared, const Request& request) {
  if (!request.caller.may_administer()) return only_administrators(request);
  auto resources = shared->desk.stored();
  if (!resources) return error_response(resources.error());
  return answer(plan_of(*resources), [](const std::string& text) { return text; });
}

/// Plans the resources of the body alone; nothing is stored.
Reply plan_given(const Shared&, const Request& request) {
  if (!request.caller.may_administer()) return only_administrators(request);
  auto parsed = parse_resources(request.body, "request");
  if (!parsed) return error_response(parsed.error());
  ResourceSet resources;
  for (auto& resource : *parsed) {
    if (auto added = resources.add(std::move(resource)); !added) return error_response(added.error());
  }
  return answer(plan_of(resources), [](const std::string& text) { return text; });
}

/// The parts of an AuthZEN 1.0 evaluation request that matter here.
struct Question {
  std::string subject;   ///< node with the data
  std::string action;
  std::string resource;  ///< node that would get it
  json::object context;

  [[nodiscard]] std::string text(std::string_view key) const {
    const auto* value = context.if_contains(key);
    return value && value->is_string() ? std::string(value->as_string()) : std::string();
  }
};

std::string text_at(const json::object* object, std::string_view key) {
  const auto* value = object ? object->if_contains(key) : nullptr;
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

Result<Question> parse_question(std::string_view body) {
  json::error_code bad;
  const auto value = json::parse(body, bad);
  const auto* object = bad ? nullptr : value.if_object();
  if (!object) return fail(Code::invalid_input, "not an evaluation request", "request", bad ? bad.message() : "it must be a JSON object");
  const auto part = [&](std::string_view key) { return object->contains(key) ? object->at(key).if_object() : nullptr; };
  Question question{text_at(part("subject"), "id"), text_at(part("action"), "name"), text_at(part("resource"), "id"), {}};
  const bool nodes = text_at(part("subject"), "type") == "Node" && text_at(part("resource"), "type") == "Node";
  if (!nodes || question.subject.empty() || question.resource.empty() || question.action.empty()) {
    return fail(Code::invalid_input, "subject, action and resource are needed", "request", {},
                R"(subject and resource are {"type":"Node","id":"domain/node"}, action is {"name":"share"})");
  }
  if (const auto* context = part("context")) question.context = *context;
  return question;
}

/// The flow asked about: the stored one that context.flow ("application/flow") names, or one made of the context.
struct Asked {
  Application application;
  Flow flow;
};

Asked asked(const ResourceSet& resources, const Question& question) {
  const auto name = question.text("flow");
  const auto slash = name.find('/');
  if (slash != name.npos) {
    if (const auto found = resources.applications.find(name.substr(0, slash)); found != resources.applications.end()) {
      for (const auto& flow : found->second.flows) {
        if (flow.name == name.substr(slash + 1)) return {found->second, flow};
      }
    }
  }
  Asked made;
  made.application.metadata.name = slash == name.npos ? question.text("application") : name.substr(0, slash);
  made.application.purpose = question.text("purpose");
  made.flow.name = slash == name.npos ? name : name.substr(slash + 1);
  made.flow.from = question.subject;
  made.flow.to = question.resource;
  made.flow.data = DataDirection::push;
  made.application.flows.push_back(made.flow);
  return made;
}

json::object decide(const ResourceSet& resources, const policy::FlowPolicies& policies, const Question& question) {
  const auto source = resources.nodes.find(question.subject);
  const auto destination = resources.nodes.find(question.resource);
  const auto no = [](std::string reason) { return json::object{{"decision", false}, {"context", json::object{{"reason", reason}}}}; };
  if (source == resources.nodes.end()) return no(fmt::format("the node {} is not known", question.subject));
  if (destination == resources.nodes.end()) return no(fmt::format("the node {} is not known", question.resource));
  if (question.action != "share") return no(fmt::format("the action {} is not known; share is", question.action));
  const auto [application, flow] = asked(resources, question);
  const bool push = flow.from == question.subject && flow.to == question.resource;
  const bool pull = flow.to == question.subject && flow.from == question.resource;
  if (!push && !pull) return no("the flow is between other nodes");
  const auto answer = policies.decide(application, flow, push ? DataDirection::push : DataDirection::pull, source->second, destination->second);
  json::object context{{"reason", answer.reason}, {"policies", json::array(answer.policies.begin(), answer.policies.end())}};
  context["requiredAttributes"] = json::array(answer.requires_attributes.begin(), answer.requires_attributes.end());
  return {{"decision", answer.permitted}, {"context", std::move(context)}};
}

Reply evaluate(const Shared& shared, const Request& request) {
  if (!request.caller.may_administer()) return only_administrators(request);
  auto question = parse_question(request.body);
  if (!question) return error_response(question.error());
  auto resources = shared->desk.stored();
  if (!resources) return error_response(resources.error());
  auto policies = policy::FlowPolicies::make(*resources, now());
  if (!policies) return error_response(policies.error());
  return json_response(json::serialize(decide(*resources, *policies, *question)));
}

}  // namespace

void add_decision_routes(Router& router, const Shared& shared) {
  const auto bind = [&](Reply (*function)(const Shared&, const Request&)) {
    return [shared, function](const Request& request) { return function(shared, request); };
  };
  router.add("GET", "/v1/plan", bind(plan_stored), {"Plan the stored resources; the shape is that of `epif plan -o json`"});
  router.add("POST", "/v1/plan", bind(plan_given), {"Plan the resources of the body alone; nothing is stored", R"({"type":["object","array"]})", {}});
  router.add("POST", "/access/v1/evaluation", bind(evaluate),
             {"Decide by the policies whether data may move (OpenID AuthZEN Authorization API 1.0)",
              R"({"type":"object","required":["subject","action","resource"],"properties":{"subject":{"type":"object"},"action":{"type":"object"},"resource":{"type":"object"},"context":{"type":"object"}}})",
              R"({"type":"object","required":["decision"],"properties":{"decision":{"type":"boolean"},"context":{"type":"object"}}})"});
}

}  // namespace epif::api
