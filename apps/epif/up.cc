#include <cstdio>
#include <filesystem>

#include "agent/agent.h"
#include "command.h"
#include "orchestrator/folder.h"
#include "orchestrator/service.h"
#include "stop_signal.h"

namespace epif::app {
namespace {

struct UpArguments {
  std::string folder = "/var/lib/epif";
  std::string listen = "127.0.0.1:7443";
  std::string node = "local/host";
};

Exit run(const UpArguments& arguments) {
  auto listen = SocketAddress::parse(arguments.listen);
  if (!listen) return report(listen.error());
  std::error_code ignored;
  const auto folder = std::filesystem::absolute(arguments.folder, ignored).lexically_normal().string();
  const auto own = folder + "/orchestrator";
  const StopSignal signals;
  if (!std::filesystem::exists(own + "/ca.key", ignored)) {
    auto made = orchestrator::init({.folder = own, .store = {}, .hosts = {}, .listen = *listen});
    if (!made) return report(made.error());
  }
  auto service = orchestrator::Service::start({own, {}, *listen});
  if (!service) return report(service.error());
  const auto url = "https://" + (*service)->address().text();
  auto token = (*service)->join_token(arguments.node);
  if (!token) return report(token.error());
  agent::Settings settings;
  settings.orchestrator = url;
  settings.token = std::move(*token);
  settings.node = arguments.node;
  settings.state = folder + "/agent";
  settings.program = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  auto agent = agent::Agent::start(std::move(settings));
  if (!agent) return report(agent.error());
  std::printf("epif is up at %s; this machine is node %s. Ctrl-C takes it down; state stays in %s\n\n"
              "In another terminal:\n"
              "  export EPIF_SERVER=%s EPIF_TOKEN_FILE=%s/admin.token EPIF_CA=%s/ca.crt\n"
              "  epif apply -f examples/    # domains, nodes, policies: one Node must be %s\n"
              "  epif submit -f app.yaml --wait\n",
              url.c_str(), arguments.node.c_str(), folder.c_str(), url.c_str(), own.c_str(), own.c_str(), arguments.node.c_str());
  std::fflush(stdout);
  const auto done = (*agent)->run(signals.token());
  return done ? Exit::done : report(done.error());
}

}  // namespace

void add_up(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<UpArguments>();
  auto* command = root.add_subcommand("up", "Orchestrator and one agent on this machine, in one command");
  command->add_option("--dir", arguments->folder, "Folder for all state")->capture_default_str();
  command->add_option("--listen", arguments->listen, "ADDR:PORT of the API")->capture_default_str();
  command->add_option("--node", arguments->node, "DOMAIN/NODE that this machine is")->capture_default_str();
  command->footer("Example:\n  epif up --dir /tmp/epif --node umc/modality");
  command->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
