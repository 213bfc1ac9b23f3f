#include <unistd.h>

#include <memory>

#include "api/server.h"
#include "base/log.h"
#include "command.h"
#include "nginx/service.h"

namespace epif::app {
namespace {

struct NginxArguments {
  nginx::Settings settings;
  std::string admin;
  bool cleanup = false;
};

Result<std::unique_ptr<api::Server>> admin_server(const std::string& address, const nginx::Service& service) {
  constexpr std::string_view scheme = "unix:";
  if (!address.starts_with(scheme) || address.size() == scheme.size())
    return fail(Code::usage, "expected unix:PATH", "--admin " + address);
  api::Router router;
  router.add("GET", "/healthz", [](const api::Request&) -> api::Reply { return api::Response{200, "ok\n", "text/plain"}; });
  router.add("GET", "/metrics", [&service](const api::Request&) -> api::Reply {
    return api::Response{200, nginx::metrics_text(service.stats()), "text/plain; version=0.0.4"};
  });
  api::ServerOptions options;
  options.unix_path = address.substr(scheme.size());
  options.threads = 1;
  return api::Server::start(std::move(options), std::move(router));
}

Exit run(const NginxArguments& arguments) {
  if (::geteuid() != 0) {
    return report(
        {Code::permission, "NGINX's gate is made of the kernel's rules", "epif nginx", "not root", "run it as root"});
  }
  if (arguments.cleanup) {
    const auto done = nginx::clean_up(arguments.settings.state);
    return done ? Exit::done : report(done.error());
  }
  if (arguments.settings.routes.empty()) return report({Code::usage, "--routes FILE is needed", "epif nginx"});
  auto service = nginx::Service::start(arguments.settings);
  if (!service) return report(service.error());
  std::unique_ptr<api::Server> admin;
  if (!arguments.admin.empty()) {
    auto started = admin_server(arguments.admin, **service);
    if (!started) return report(started.error());
    admin = std::move(*started);
  }
  const auto done = (*service)->run();
  admin.reset();
  return done ? Exit::done : report(done.error());
}

}  // namespace

void add_nginx(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<NginxArguments>();
  auto& settings = arguments->settings;
  auto* command =
      root.add_subcommand("nginx", "Carry flows of method nginx with real NGINX: configuration, reload, revocation");
  command->add_option("--routes", settings.routes, "Routes (JSON); watched. Only those of method nginx count")
      ->type_name("FILE");
  command->add_option("--state", settings.state, "Folder for everything that NGINX needs and writes")->capture_default_str();
  command->add_option("--nginx", settings.program, "The NGINX program")->capture_default_str();
  command->add_option("--admin", arguments->admin, "unix:PATH for /metrics and /healthz");
  command->add_flag("--cleanup", arguments->cleanup, "End what an earlier one left in --state, and end");
  command->footer(
      "Each client node has an NGINX of its own. A crash of this command ends no flow; its next run adopts what runs.\n"
      "Examples:\n"
      "  epif nginx --routes routes.json --state /run/epif/nginx --admin unix:/run/epif/nginx.sock\n"
      "  epif nginx --cleanup --state /run/epif/nginx");
  command->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
