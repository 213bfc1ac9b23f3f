#pragma once
#include <functional>
#include <string>
#include <vector>

#include "command.h"

/// The declared commands and options as data: what completion scripts and man pages are made from.
namespace epif::app {

[[nodiscard]] std::vector<const CLI::App*> commands_of(const CLI::App& app);
/// "-o" and "--output" of an option; nothing for a positional.
[[nodiscard]] std::vector<std::string> flags_of(const CLI::Option& option);
[[nodiscard]] bool takes_value(const CLI::Option& option);
/// True if the value is a file or folder, by the type name that the help shows.
[[nodiscard]] bool takes_path(const CLI::Option& option);
/// The first line of a description.
[[nodiscard]] std::string summary(const std::string& description);

/// Calls `visit(path, app)` for the program (empty path) and each command below it ("orchestrator init"), parents first.
void walk(const CLI::App& app, const std::string& path, const std::function<void(const std::string&, const CLI::App&)>& visit);

}  // namespace epif::app
