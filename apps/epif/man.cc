#include <fmt/format.h>

#include <algorithm>

#include "command_tree.h"

/// `epif man`: manual pages, made from the commands' own declarations.
namespace epif::app {
namespace {

constexpr auto manual_examples = R"(Examples:
  epif man > epif.1
  epif man orchestrator init | man -l -)";

/// Text as roff: a backslash is an escape, and a dot or a quote at the start of a line is a request.
std::string roff(const std::string& text) {
  std::string out;
  bool start = true;
  for (const char c : text) {
    if (start && (c == '.' || c == '\'')) out += "\\&";
    start = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

void print_option(std::string& out, const CLI::Option& option) {
  const auto flags = flags_of(option);
  std::string head;
  for (const auto& flag : flags) head += fmt::format("{}\\fB{}\\fR", head.empty() ? "" : ", ", roff(flag));
  if (head.empty()) head = "\\fI" + roff(option.get_name(true)) + "\\fR";
  if (!flags.empty() && takes_value(option)) head += " \\fI" + roff(option.get_type_name()) + "\\fR";
  out += ".TP\n" + head + "\n" + roff(option.get_description()) + "\n";
}

std::string manual(const CLI::App& app, const std::string& path) {
  std::string name = "epif" + (path.empty() ? "" : " " + path);
  std::string page_name = name;
  std::replace(page_name.begin(), page_name.end(), ' ', '-');
  std::string out = fmt::format(".TH \"{}\" 1 \"\" epif \"EPI Framework\"\n.SH NAME\n{} \\- {}\n", roff(page_name), roff(page_name),
                                roff(summary(app.get_description())));
  const auto commands = commands_of(app);
  out += fmt::format(".SH SYNOPSIS\n\\fB{}\\fR{}", roff(name), commands.empty() ? "" : " \\fICOMMAND\\fR");
  bool with_options = false;
  for (const auto* option : app.get_options()) {
    if (flags_of(*option).empty()) {
      out += " \\fI" + roff(option->get_name(true)) + "\\fR";
    } else {
      with_options = true;
    }
  }
  out += with_options ? " [\\fIOPTIONS\\fR]\n" : "\n";
  out += ".SH DESCRIPTION\n" + roff(app.get_description()) + "\n";
  if (!commands.empty()) out += ".SH COMMANDS\n";
  for (const auto* command : commands) {
    out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(command->get_name()), roff(summary(command->get_description())));
  }
  if (!app.get_options().empty()) out += ".SH OPTIONS\n";
  for (const auto* option : app.get_options()) print_option(out, *option);
  if (!app.get_footer().empty()) out += ".SH EXAMPLES\n.nf\n" + roff(app.get_footer()) + "\n.fi\n";
  out += ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong use, 3 the answer is no.\n";
  return out;
}

const CLI::App* find(const CLI::App& root, const std::vector<std::string>& words) {
  const CLI::App* at = &root;
  for (const auto& word : words) {
    const auto below = commands_of(*at);
    const auto found = std::find_if(below.begin(), below.end(), [&](const auto* command) { return command->get_name() == word; });
    if (found == below.end()) return nullptr;
    at = *found;
  }
  return at;
}

}  // namespace

void add_man(CLI::App& root, Exit& exit) {
  auto* man = root.add_subcommand("man", "Print the manual page of the program or of a command");
  auto words = std::make_shared<std::vector<std::string>>();
  auto all = std::make_shared<bool>(false);
  man->add_option("command", *words, "The command, for example: orchestrator init");
  man->add_flag("--list", *all, "Print the name of each command that has a page, one a line");
  man->footer(manual_examples);
  man->callback([&root, &exit, words, all] {
    if (*all) {
      walk(root, {}, [](const std::string& path, const CLI::App&) { if (!path.empty()) fmt::print("{}\n", path); });
      return;
    }
    const auto* app = find(root, *words);
    const auto path = fmt::format("{}", fmt::join(*words, " "));
    if (app == nullptr) {
      exit = report({Code::usage, fmt::format("there is no command '{}'", path), {}, {}, "see epif --help"});
      return;
    }
    fmt::print("{}", manual(*app, path));
  });
}

}  // namespace epif::app
