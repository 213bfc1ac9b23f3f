#include <signal.h>
#include <sys/signalfd.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/fd.h"
#include "bridge/image.h"
#include "command.h"
#include "functions/catalogue.h"
#include "functions/serve.h"

namespace epif::app {
namespace {

void list_functions() {
  std::printf("%-12s %-58s %s\n", "FUNCTION", "WHAT IT DOES", "PARAMETERS");
  for (const auto& entry : functions::catalogue())
    std::printf("%-12s %-58s %s\n", std::string(entry.name).c_str(), std::string(entry.summary).c_str(),
                std::string(entry.parameters).c_str());
}

Exit run_function(const std::string& name, const std::string& socket) {
  const auto factory = functions::factory(name);
  if (!factory) return report(factory.error());
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const Fd stop(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!stop) return report(system_error(errno, "cannot take signals"));
  std::fprintf(stderr, "epif: %s serves on %s\n", name.c_str(), socket.c_str());
  const auto served = functions::serve(socket, *factory, stop.get());
  ::unlink(socket.c_str());
  return served ? Exit::done : report(served.error());
}

/// The image's digest is that of its content, so it is known before any engine has it.
Exit print_image(const std::string& program) {
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "epif-bf";
  const auto image = bridge::make_image(program.empty() ? beside : std::filesystem::path(program), "localhost/epif-bf:latest");
  if (!image) return report(image.error());
  std::printf("%s\n", image->id.c_str());
  return Exit::done;
}

}  // namespace

void add_bf(CLI::App& root, Exit& exit) {
  auto* bf = root.add_subcommand("bf", "Bridging functions: list the built-in ones, run one without a container");
  bf->require_subcommand(1);
  bf->footer("Example: epif bf run audit --socket /tmp/audit.sock");

  auto* list = bf->add_subcommand("list", "List the built-in functions");
  list->footer("Example: epif bf list");
  list->callback([] { list_functions(); });

  struct Arguments {
    std::string name;
    std::string socket;
    std::string program;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto* image = bf->add_subcommand("image", "Print the digest of the built-in functions' image, for BridgingFunction.spec.image");
  image->add_option("--program", arguments->program, "The static program epif-bf; default: the one beside epif");
  image->footer("Example: epif bf image");
  image->callback([arguments, &exit] { exit = print_image(arguments->program); });
  auto* run = bf->add_subcommand("run", "Serve one function on a socket, for development");
  run->add_option("NAME", arguments->name, "Function, as in `epif bf list`")->required();
  run->add_option("--socket", arguments->socket, "Path of its Unix socket; default ./NAME.sock")->envname("EPIF_BF_SOCKET");
  run->footer("Example: epif bf run firewall --socket /tmp/firewall.sock; name the path in a route's chain link");
  run->callback([arguments, &exit] {
    exit = run_function(arguments->name, arguments->socket.empty() ? arguments->name + ".sock" : arguments->socket);
  });
}

}  // namespace epif::app
