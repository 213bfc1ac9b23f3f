#include "unknown_word.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/spelling.h"

namespace epif::app {
namespace {

std::vector<std::string_view> names_of_commands(CLI::App& command) {
  std::vector<std::string_view> names;
  for (const auto* sub : command.get_subcommands([](const CLI::App*) { return true; })) names.push_back(sub->get_name());
  return names;
}

std::string full_name(const CLI::App& command) {
  return command.get_parent() == nullptr ? command.get_name() : full_name(*command.get_parent()) + " " + command.get_name();
}

std::string no_command(CLI::App& command, std::string_view word) {
  const auto names = names_of_commands(command);
  const auto near = near_word(word, names);
  const auto help = full_name(command) + " --help";
  if (near.empty()) return fmt::format("{}: there is no command '{}'; {} lists them", full_name(command), word, help);
  return fmt::format("{}: there is no command '{}'; did you mean '{}'?", full_name(command), word, near);
}

std::string no_option(CLI::App& command, std::string_view word) {
  std::vector<std::string> owned;
  for (const auto* option : command.get_options()) {
    for (const auto& name : option->get_lnames()) owned.push_back("--" + name);
  }
  const auto near = near_word(word, {owned.begin(), owned.end()});
  const auto help = full_name(command) + " --help";
  if (near.empty()) return fmt::format("{}: there is no option '{}'; {} lists them", full_name(command), word, help);
  return fmt::format("{}: there is no option '{}'; did you mean '{}'?", full_name(command), word, near);
}

}  // namespace

std::string unknown_word(CLI::App& root, std::span<const char* const> arguments) {
  auto* command = &root;
  bool value_may_follow = false;
  for (const std::string_view word : arguments) {
    if (word == "--") break;
    if (word.starts_with("-")) {
      const std::string name(word.substr(0, word.find('=')));
      const auto* option = command->get_option_no_throw(name);
      if (option == nullptr && word.starts_with("--")) return no_option(*command, name);
      value_may_follow = option == nullptr || (option->get_items_expected_max() > 0 && name == word);
      continue;
    }
    if (value_may_follow) continue;
    const auto names = names_of_commands(*command);
    if (names.empty()) break;  // what follows may be another program's
    if (std::ranges::find(names, word) == names.end()) return no_command(*command, word);
    command = command->get_subcommand(std::string(word));
  }
  return {};
}

}  // namespace epif::app
