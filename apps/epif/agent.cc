#include "agent/agent.h"

#include <cstdio>
#include <filesystem>

#include "api/pki.h"
#include "command.h"
#include "stop_signal.h"

namespace epif::app {
namespace {

struct AgentArguments {
  std::string config;
  std::string token_file;
  bool cleanup = false;
  agent::Settings flags;
};

std::string own_path() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).string();
}

/// Flags win over the file.
Result<agent::Settings> settings_of(const AgentArguments& arguments) {
  agent::Settings out;
  if (!arguments.config.empty()) {
    auto read = agent::read_settings(arguments.config);
    if (!read) return read;
    out = std::move(*read);
  }
  const auto& flags = arguments.flags;
  for (const auto& [flag, field] : {std::pair{&flags.orchestrator, &out.orchestrator}, {&flags.token, &out.token},
                                    {&flags.node, &out.node}, {&flags.state, &out.state}, {&flags.engine, &out.engine}}) {
    if (!flag->empty()) *field = *flag;
  }
  if (!arguments.token_file.empty()) {
    auto token = api::read_file(arguments.token_file);
    if (!token) return fail(token.error());
    out.token = token->substr(0, token->find_last_not_of(" \t\r\n") + 1);
  }
  out.rejoin = flags.rejoin;
  out.mptcp = out.mptcp || flags.mptcp;
  if (out.state.empty()) out.state = "/var/lib/epif/agent";
  out.program = own_path();
  if (arguments.cleanup) return out;
  if (out.orchestrator.empty()) return fail(Code::usage, "which orchestrator?", {}, {}, "give --orchestrator URL, or --config FILE");
  if (!out.node.empty() && !api::is_identity(out.node)) return fail(Code::usage, "a node is named DOMAIN/NODE", "--node " + out.node);
  return out;
}

Exit run(const AgentArguments& arguments) {
  auto settings = settings_of(arguments);
  if (!settings) return report(settings.error());
  if (arguments.cleanup) {
    const auto done = agent::clean_up(settings->state, settings->program);
    return done ? Exit::done : report(done.error());
  }
  const StopSignal signals;
  auto agent = agent::Agent::start(std::move(*settings));
  if (!agent) return report(agent.error());
  const auto done = (*agent)->run(signals.token());
  return done ? Exit::done : report(done.error());
}

}  // namespace

void add_agent(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<AgentArguments>();
  auto* command = root.add_subcommand("agent", "Hold this host to what the orchestrator assigns to it");
  command->add_option("--orchestrator", arguments->flags.orchestrator, "https://HOST:PORT");
  command->add_option("--token", arguments->flags.token, "Join token (seen by other users: prefer --token-file)");
  command->add_option("--token-file", arguments->token_file, "File with the join token");
  command->add_option("--node", arguments->flags.node, "DOMAIN/NODE: this host's Node or ProxyNode; needed to join, later known from --state");
  command->add_option("--state", arguments->flags.state, "Folder for all that the agent keeps (default /var/lib/epif/agent)");
  command->add_option("--engine", arguments->flags.engine, "Container engine's Unix socket; by default an own podman service");
  command->add_option("--config", arguments->config, "YAML with the same, and the domain's own rules");
  command->add_flag("--mptcp", arguments->flags.mptcp, "Redirector or proxy speaks MPTCP over all addresses of this host: flows survive the loss of a link");
  command->add_flag("--rejoin", arguments->flags.rejoin, "The orchestrator (then joins again with the token), or its store, may be another one than before");
  command->add_flag("--cleanup", arguments->cleanup, "Take down what an agent left in --state, and end");
  command->footer(
      "A stop (Ctrl-C) takes down everything. After a crash the redirector or proxy goes on; the next run adopts it. If the\n"
      "program or its options are others by then, a new process takes over from it without a lost flow.\n"
      "Examples:\n"
      "  epif agent --orchestrator https://10.0.0.1:7443 --node umc/modality --token-file join.token\n"
      "  epif agent --cleanup --state /var/lib/epif/agent");
  command->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
