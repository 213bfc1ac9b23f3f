#include <boost/json.hpp>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>

#include "api/client_config.h"
#include "command.h"
#include "orchestrator/aliases.h"
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
  api::ClientConfig server;
  std::string use = "join";
  std::string subject;
  std::string valid;
  std::string alias_range;
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
  std::optional<Cidr> aliases;
  if (!arguments.alias_range.empty()) {
    auto range = orchestrator::parse_alias_range(arguments.alias_range);
    if (!range) return report(range.error());
    aliases = *range;
  }
  const StopSignal signals;
  auto service = orchestrator::Service::start({arguments.folder, arguments.store, *listen, aliases});
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

/// Asks the running orchestrator, since it alone writes the store.
Exit token(const OrchestratorArguments& arguments) {
  auto options = api::resolve_client(arguments.server);
  if (!options) return report(options.error());
  auto client = api::Client::make(std::move(*options));
  if (!client) return report(client.error());
  boost::json::object body{{"use", arguments.use}, {"subject", arguments.subject}};
  if (!arguments.valid.empty()) body["valid"] = arguments.valid;
  auto answer = (*client)->request("POST", "/v1/tokens", boost::json::serialize(body));
  if (!answer) return report(answer.error());
  boost::system::error_code broken;
  const auto parsed = boost::json::parse(*answer, broken);
  const auto* text = parsed.is_object() ? parsed.get_object().if_contains("token") : nullptr;
  if (text == nullptr || !text->is_string()) return report({Code::protocol, "the orchestrator's answer holds no token"});
  std::printf("%s\n", text->get_string().c_str());
  return Exit::done;
}

void add_token(CLI::App& command, const std::shared_ptr<OrchestratorArguments>& arguments, Exit& exit) {
  auto* making = command.add_subcommand("token", "Print a new token, to join a node or to use the API");
  making->add_option("subject", arguments->subject, "domain/node, a domain or * (join); a name (user)")->required();
  making->add_option("--use", arguments->use, "join or user")->check(CLI::IsMember({"join", "user"}))->capture_default_str();
  making->add_option("--valid", arguments->valid, "How long it may be used, such as 10m (default: join an hour, user without end)");
  making->add_option("--server", arguments->server.server, "https://HOST:PORT; default EPIF_SERVER");
  making->add_option("--token-file", arguments->server.token_file, "Your own token; default EPIF_TOKEN_FILE");
  making->add_option("--ca", arguments->server.ca, "The authority's certificate; default EPIF_CA");
  making->footer("Example:\n  epif orchestrator token umc/modality > join.token");
  making->callback([arguments, &exit] { exit = token(*arguments); });
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
  running->add_option("--alias-range", arguments->alias_range, "IPv4 block, used by no machine, from which each node with a hostname gets the address by which programs of other domains reach it");
  initialise->add_option("--host", arguments->hosts, "Further name or address by which it is reached; repeats");
  initialise->footer("Example:\n  epif orchestrator init --dir /var/lib/epif/orchestrator --host epif.example.org");
  running->footer("Example:\n  epif orchestrator run --dir /var/lib/epif/orchestrator --listen 0.0.0.0:7443");
  add_token(*command, arguments, exit);
  initialise->callback([arguments, &exit] { exit = init(*arguments); });
  running->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
