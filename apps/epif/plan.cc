#include "planner/plan.h"

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "model/document.h"
#include "policy/flow_request.h"

namespace epif::app {
namespace {

struct PlanArguments {
  std::vector<std::string> files;
  std::vector<std::string> what_if;
  std::string output = "text";
  std::string gap = "complement";
};

/// Lets the planner ask the input's own policies. The engine keeps them alive.
Result<planner::PolicyEngine> policy_engine(const ResourceSet& resources) {
  if (resources.policies.empty()) return planner::PolicyEngine{};
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  auto made = policy::FlowPolicies::make(resources, now);
  if (!made) return fail(std::move(made.error()));
  if (auto known = made->check_required(resources); !known) return fail(std::move(known.error()));
  return planner::PolicyEngine([policies = std::make_shared<const policy::FlowPolicies>(std::move(*made))](
                                   const planner::PolicyQuery& query) -> Result<planner::PolicyDecision> {
    auto decision = policies->decide(query.application, query.flow, query.direction, query.source, query.destination);
    return planner::PolicyDecision{decision.permitted, std::move(decision.policies), std::move(decision.reason),
                                   std::move(decision.requires_attributes)};
  });
}

Result<planner::Plan> make_plan(const PlanArguments& arguments) {
  const auto resources = load_resources(arguments.files);
  if (!resources) return fail(resources.error());
  for (const auto& folder : unread_folders(arguments.files)) std::fprintf(stderr, "epif: note: %s is not read; name it, too, if it is meant\n", folder.c_str());
  planner::PlanOptions options;
  if (arguments.gap == "printed") options.gap = planner::GapRule::printed;
  for (const auto& text : arguments.what_if) {
    auto change = planner::WhatIf::parse(text);
    if (!change) return fail(std::move(change.error()));
    options.what_if.push_back(std::move(*change));
  }
  if (auto sound = resources->check(); !sound) return fail(std::move(sound.error()));
  auto engine = policy_engine(*resources);
  if (!engine) return fail(std::move(engine.error()));
  options.policy = std::move(*engine);
  return planner::plan(*resources, options);
}

Exit run(const PlanArguments& arguments) {
  const auto plan = make_plan(arguments);
  if (!plan) {
    const auto code = report(plan.error());
    return code == Exit::answer_is_no ? Exit::failed : code;  // 3 is kept for the plan's own answer
  }
  for (const auto& warning : plan->warnings) {
    if (arguments.output != "text") std::fprintf(stderr, "epif: note: %s\n", warning.c_str());
  }
  const auto text = arguments.output == "json"  ? planner::print_json(*plan)
                    : arguments.output == "dot" ? planner::print_dot(*plan)
                                                : planner::print_text(*plan);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return report(system_error(errno, "cannot write the plan", "stdout"));
  }
  return plan->all_possible() ? Exit::done : Exit::answer_is_no;
}

}  // namespace

void add_plan(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<PlanArguments>();
  auto* command = root.add_subcommand("plan", "Say, without touching anything, which flows are possible, how and why");
  command->add_option("-f,--file", arguments->files, "Resources: files, folders (but not the folders in them), or - for stdin")->required();
  command->add_option("-o,--output", arguments->output, "text, json or dot")
      ->check(CLI::IsMember({"text", "json", "dot"}))
      ->capture_default_str();
  command->add_option("--what-if", arguments->what_if, "Plan as if a node had (+=) or lacked (-=) an attribute; repeats");
  command->add_option("--gap", arguments->gap, "complement, or printed: Eq. 5 as printed, for comparison only")
      ->check(CLI::IsMember({"complement", "printed"}))
      ->capture_default_str();
  command->footer(
      "Exit: 0 all flows are possible, 3 some are not, 1 the input is wrong, 2 the arguments are.\n"
      "Examples:\n"
      "  epif plan -f examples/stroke-imaging.yaml\n"
      "  epif plan -f examples/stroke-imaging.yaml --what-if vendor/backup+=encryption -o json\n"
      "  epif plan -f examples/ -o dot | dot -Tsvg > plan.svg");
  command->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
