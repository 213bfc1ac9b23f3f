#include <cstdio>
#include <string>
#include <string_view>

#include "command.h"
#include "unknown_word.h"

namespace epif::app {

Exit report(const Error& error) {
  const auto text = error.text();
  // Where the place is a command of ours, the name of the program stands there already.
  constexpr std::string_view program = "epif ";
  std::fprintf(stderr, "epif: %s\n", text.c_str() + (error.where.starts_with(program) ? program.size() : 0));
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
    const bool asked_for_help = error.get_exit_code() == 0;
    const auto unknown = asked_for_help ? std::string() : epif::app::unknown_word(root, {argv + 1, argv + argc});
    if (unknown.empty()) return root.exit(error) == 0 ? 0 : static_cast<int>(epif::app::Exit::usage);
    std::fprintf(stderr, "epif: %s\n", unknown.c_str());
    return static_cast<int>(epif::app::Exit::usage);
  }
  return static_cast<int>(exit);
}
