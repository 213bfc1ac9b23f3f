#include <cstdio>

#include "command.h"

namespace epif::app {

Exit report(const Error& error) {
  std::fprintf(stderr, "epif: %s\n", error.text().c_str());
  switch (error.code) {
    case Code::usage: return Exit::usage;
    case Code::denied:
    case Code::unfeasible: return Exit::answer_is_no;
    default: return Exit::failed;
  }
}

}  // namespace epif::app

int main(int argc, char** argv) {
  CLI::App root{"epif: data flows across domains through chains of bridging functions", "epif"};
  root.require_subcommand(1);
  root.set_help_all_flag("--help-all", "Help of all commands");
  auto exit = epif::app::Exit::done;
#define EPIF_COMMAND(name) epif::app::add_##name(root, exit);
#include "commands.inc"
#undef EPIF_COMMAND
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return root.exit(error) == 0 ? 0 : static_cast<int>(epif::app::Exit::usage);
  }
  return static_cast<int>(exit);
}
