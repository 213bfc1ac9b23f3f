#include "command_tree.h"

namespace epif::app {

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_name().empty(); });
}

std::vector<std::string> flags_of(const CLI::Option& option) {
  std::vector<std::string> flags;
  for (const auto& name : option.get_snames()) flags.push_back("-" + name);
  for (const auto& name : option.get_lnames()) flags.push_back("--" + name);
  return flags;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

bool takes_path(const CLI::Option& option) {
  const auto type = option.get_type_name();
  for (const auto* word : {"FILE", "DIR", "PATH"}) {
    if (type.find(word) != std::string::npos) return true;
  }
  return false;
}

std::string summary(const std::string& description) { return description.substr(0, description.find('\n')); }

void walk(const CLI::App& app, const std::string& path, const std::function<void(const std::string&, const CLI::App&)>& visit) {
  visit(path, app);
  for (const auto* command : commands_of(app)) {
    walk(*command, path.empty() ? command->get_name() : path + " " + command->get_name(), visit);
  }
}

}  // namespace epif::app
