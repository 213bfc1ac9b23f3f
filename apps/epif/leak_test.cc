#include <unistd.h>

#include <cstdio>
#include <memory>

#include "command.h"
#include "leak/flood.h"
#include "leak/moments.h"
#include "leak/ways_out.h"
#include "stop_signal.h"

namespace epif::app {
namespace {

struct LeakTestArguments {
  std::vector<std::string> targets;
  std::vector<std::string> controls;
  std::string state = "/run/epif";
  std::string only;
  std::string output = "text";
  std::string flood;
  bool flood_witness = false;
};

Result<leak::NodeWish> node_wish(const LeakTestArguments& arguments) {
  leak::NodeWish wish;
  wish.state_dir = arguments.state;
  for (const auto& text : arguments.targets) {
    auto target = CaptureTarget::parse(text);
    if (!target) return fail(Code::usage, "bad target", text, target.error().text(), "ADDRESS, CIDR, and :PORT or :FIRST-LAST behind it");
    wish.targets.push_back(*target);
  }
  for (const auto& text : arguments.controls) {
    auto address = IpAddress::parse(text);
    if (!address) return fail(Code::usage, "bad control address", text, address.error().text());
    wish.controls.push_back(*address);
  }
  return wish;
}

Exit run(const LeakTestArguments& arguments) {
  if (::geteuid() != 0) {
    return report({Code::permission, "cannot watch the devices of this node", "epif leak-test", "not root", "run it as root"});
  }
  if (!arguments.flood.empty()) {
    leak::flood(arguments.flood, arguments.flood_witness ? leak::FloodTo::witness : leak::FloodTo::target);
    return Exit::done;
  }
  const auto wish = node_wish(arguments);
  if (!wish) return report(wish.error());
  const StopSignal signal;
  const bool text = arguments.output == "text";
  const leak::OnFinding found = [&](const leak::Finding& finding) {
    if (!text) return;
    std::printf("%s\n", leak::print_text(finding).c_str());
    std::fflush(stdout);
  };
  std::vector<leak::Finding> all;
  const auto take = [&](Result<std::vector<leak::Finding>> part) -> std::optional<Exit> {
    if (!part) return report(part.error());
    all.insert(all.end(), part->begin(), part->end());
    return {};
  };
  if (arguments.only != "moments") {
    if (const auto failed = take(leak::try_ways_out(*wish, found, signal.token()))) return *failed;
  }
  if (arguments.only != "node" && !signal.token().stop_requested()) {
    if (const auto failed = take(leak::try_moments(found, signal.token()))) return *failed;
  }
  if (signal.token().stop_requested()) return report({Code::internal, "interrupted before the end", "epif leak-test", "asked to stop", ""});
  if (!text) std::fputs(leak::print_json(all).c_str(), stdout);
  return static_cast<Exit>(leak::exit_code(all));
}

}  // namespace

void add_leak_test(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<LeakTestArguments>();
  auto* command = root.add_subcommand("leak-test", "Try every way out of this guarded node, with a control for each");
  command->add_option("--target", arguments->targets, "Protected ADDRESS or CIDR, with :PORT; repeats (default: what the redirectors here protect)")
      ->allow_extra_args(false);
  command->add_option("--control", arguments->controls, "Unprotected address that the same probes must reach, one a family (default: a proxy's)")
      ->allow_extra_args(false);
  command->add_option("--state", arguments->state, "The redirectors' folder")->capture_default_str();
  command->add_option("--only", arguments->only, "node: the ways out; moments: start, swap, interface, crash, stop in a lab")
      ->check(CLI::IsMember({"node", "moments"}));
  command->add_option("-o,--output", arguments->output, "text or json")->check(CLI::IsMember({"text", "json"}))->capture_default_str();
  command->add_option("--flood", arguments->flood)->group("");  // the guarded program of the moments, started by us
  command->add_flag("--flood-witness", arguments->flood_witness)->group("");
  command->footer(
      "Verdicts: held, LEAK, not proven (a control was not seen), not possible here (the kernel lacks it).\n"
      "Exit: 0 all held, 3 a leak, 1 not proven or failed, 2 the arguments are wrong.\n"
      "Examples:\n"
      "  epif leak-test\n"
      "  epif leak-test --only node --target 10.2.0.20 --control 10.3.0.30\n"
      "  epif leak-test --only moments -o json");
  command->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
