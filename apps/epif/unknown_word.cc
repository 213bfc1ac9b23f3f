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

/// "COMMAND: there is no KIND 'WORD'", and what to do instead.
std::string say(const CLI::App& command, std::string_view kind, std::string_view word, const std::vector<std::string_view>& known) {
  const auto name = full_name(command);
  const auto place = command.get_parent() == nullptr ? std::string() : name.substr(name.find(' ') + 1) + ": ";
  const auto near = near_word(word, known);
  if (near.empty()) return fmt::format("{}there is no {} '{}'; {} --help lists them", place, kind, word, name);
  return fmt::format("{}there is no {} '{}'; did you mean '{}'?", place, kind, word, near);
}

std::string no_option(const CLI::App& command, std::string_view word) {
  std::vector<std::string> owned;
  for (const auto* option : command.get_options()) {
    for (const auto& name : option->get_lnames()) owned.push_back("--" + name);
  }
  return say(command, "option", word, {owned.begin(), owned.end()});
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
    if (std::ranges::find(names, word) == names.end()) return say(*command, "command", word, names);
    command = command->get_subcommand(std::string(word));
  }
  return {};
}

}  // namespace epif::app
