#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>

#include "api/client_config.h"
#include "command.h"
#include "orchestrator/folder.h"
#include "orchestrator/service.h"
#include "stop_signal.h"

namespace epif::app {
namespace {

struct OrchestratorArguments {
  std::string folder = "/var/lib/epif/orchestrator";
  std::string listen = "0.0.0.0:7443";
  std::string store;
  std::vector<std::string> hosts;
};

Exit init(const OrchestratorArguments& arguments) {
  orchestrator::InitOptions options;
  std::error_code ignored;
  options.folder = std::filesystem::absolute(arguments.folder, ignored).lexically_normal().string();
  options.store = arguments.store;
  options.hosts = arguments.hosts;
  auto listen = SocketAddress::parse(arguments.listen);
  if (!listen) return report(listen.error());
  options.listen = *listen;
  auto done = orchestrator::init(options);
  if (!done) return report(done.error());
  std::printf("The orchestrator's folder is ready: %s (keep it secret: it holds the authority's key)\n\n"
              "Start it:\n  epif orchestrator run --dir %s --listen %s\n\n"
              "Join a host, within an hour:\n  epif agent --orchestrator https://HOST:%u --node DOMAIN/NODE --token %s\n\n"
              "Use it from here:\n  export EPIF_SERVER=%s EPIF_TOKEN_FILE=%s/admin.token EPIF_CA=%s/ca.crt\n",
              options.folder.c_str(), options.folder.c_str(), arguments.listen.c_str(), unsigned{listen->port},
              done->join_token.c_str(), done->url.c_str(), options.folder.c_str(), options.folder.c_str());
  return Exit::done;
}

Exit run(const OrchestratorArguments& arguments) {
  auto listen = SocketAddress::parse(arguments.listen);
  if (!listen) return report(listen.error());
  const StopSignal signals;
  auto service = orchestrator::Service::start({arguments.folder, arguments.store, *listen});
  if (!service) return report(service.error());
  std::printf("orchestrator: listens on https://%s\n", (*service)->address().text().c_str());
  std::fflush(stdout);
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  const auto token = signals.token();
  wake.wait(lock, token, [] { return false; });
  return Exit::done;
}

}  // namespace

void add_orchestrator(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<OrchestratorArguments>();
  auto* command = root.add_subcommand("orchestrator", "Decide which flows may exist, and tell the agents");
  command->require_subcommand(1);
  auto* initialise = command->add_subcommand("init", "Make the certificate authority, the admin's token and a join token");
  auto* running = command->add_subcommand("run", "Serve the API and hold all applications to their state");
  for (auto* one : {initialise, running}) {
    one->add_option("--dir", arguments->folder, "Folder for keys, certificates and the store")->capture_default_str();
    one->add_option("--listen", arguments->listen, "ADDR:PORT of the API")->capture_default_str();
    one->add_option("--store", arguments->store, "sqlite:PATH; by default epif.db in the folder");
  }
  initialise->add_option("--host", arguments->hosts, "Further name or address by which it is reached; repeats");
  initialise->footer("Example:\n  epif orchestrator init --dir /var/lib/epif/orchestrator --host epif.example.org");
  running->footer("Example:\n  epif orchestrator run --dir /var/lib/epif/orchestrator --listen 0.0.0.0:7443");
  initialise->callback([arguments, &exit] { exit = init(*arguments); });
  running->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
