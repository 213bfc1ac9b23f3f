#include <fmt/format.h>

#include "command_tree.h"

/// `epif completion SHELL`: made from the commands' own declarations, so that it cannot fall behind them.
namespace epif::app {
namespace {

constexpr auto completion_examples = R"(Examples:
  epif completion bash > /etc/bash_completion.d/epif
  epif completion zsh > /usr/local/share/zsh/site-functions/_epif
  epif completion fish > ~/.config/fish/completions/epif.fish)";

/// One word of a POSIX-like shell, whatever it holds.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// "proxy"|"orchestrator init"|...: a case pattern of all command paths.
std::string known_paths(const CLI::App& root) {
  std::string known;
  walk(root, {}, [&](const std::string& path, const CLI::App&) {
    if (!path.empty()) known += fmt::format("{}\"{}\"", known.empty() ? "" : "|", path);
  });
  return known;
}

std::string bash(const CLI::App& root) {
  std::string cases;
  walk(root, {}, [&](const std::string& path, const CLI::App& app) {
    std::string words;
    std::string paths;
    for (const auto* command : commands_of(app)) words += command->get_name() + " ";
    for (const auto* option : app.get_options()) {
      for (const auto& flag : flags_of(*option)) {
        words += flag + " ";
        if (takes_path(*option)) paths += "|" + flag;
      }
    }
    cases += fmt::format("    \"{}\") words=\"{}\"; paths=\"{}|\" ;;\n", path, words, paths);
  });
  return fmt::format(R"(# bash completion of epif; made by `epif completion bash`
_epif() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" path="" word words="" paths="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${{path:+$path }}${{COMP_WORDS[i]}}"
    case "$word" in {}) path="$word" ;; esac
  done
  case "$path" in
{}  esac
  COMPREPLY=()
  [[ "$paths" == *"|$before|"* ]] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  [[ ${{#COMPREPLY[@]}} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- "$current")
}}
complete -o filenames -F _epif epif
)",
                     known_paths(root), cases);
}

std::string zsh(const CLI::App& root) {
  std::string cases;
  walk(root, {}, [&](const std::string& path, const CLI::App& app) {
    std::string entries;
    const auto add = [&](const std::string& word, const std::string& text) {
      entries += " " + quoted(word + ":" + summary(text));
    };
    for (const auto* command : commands_of(app)) add(command->get_name(), command->get_description());
    for (const auto* option : app.get_options()) {
      for (const auto& flag : flags_of(*option)) add(flag, option->get_description());
    }
    cases += fmt::format("    \"{}\") entries=({}) ;;\n", path, entries);
  });
  return fmt::format(R"(#compdef epif
# zsh completion of epif; made by `epif completion zsh`
_epif() {{
  local command="" word i
  local -a entries
  for ((i = 2; i < CURRENT; i++)); do
    word="${{command:+$command }}${{words[i]}}"
    case "$word" in {}) command="$word" ;; esac
  done
  case "$command" in
{}  esac
  _describe -o epif entries || _files
}}
_epif "$@"
)",
                     known_paths(root), cases);
}

/// True on the line of exactly this command: all of its words seen, none of the commands below it.
std::string fish_condition(const std::string& path, const CLI::App& app) {
  if (path.empty()) return "__fish_use_subcommand";
  std::string condition;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find(' ', at), path.size());
    condition += fmt::format("{}__fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ", path.substr(at, end - at));
    at = end + 1;
  }
  std::string below;
  for (const auto* command : commands_of(app)) below += " " + command->get_name();
  return below.empty() ? condition : condition + "; and not __fish_seen_subcommand_from" + below;
}

std::string fish(const CLI::App& root) {
  std::string out = "# fish completion of epif; made by `epif completion fish`\n";
  walk(root, {}, [&](const std::string& path, const CLI::App& app) {
    const auto start = fmt::format("complete -c epif -n {}", quoted(fish_condition(path, app)));
    for (const auto* command : commands_of(app)) {
      out += fmt::format("{} -f -a {} -d {}\n", start, command->get_name(), quoted(summary(command->get_description())));
    }
    for (const auto* option : app.get_options()) {
      std::string names;
      for (const auto& name : option->get_snames()) names += " -s " + name;
      for (const auto& name : option->get_lnames()) names += " -l " + name;
      if (names.empty()) continue;
      out += fmt::format("{}{}{} -d {}\n", start, names, takes_value(*option) ? " -r" : "", quoted(summary(option->get_description())));
    }
  });
  return out;
}

}  // namespace

void add_completion(CLI::App& root, Exit&) {
  auto* command = root.add_subcommand("completion", "Print the completion script of a shell");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer(completion_examples);
  command->callback([&root, shell] {
    const auto text = *shell == "bash" ? bash(root) : *shell == "zsh" ? zsh(root) : fish(root);
    fmt::print("{}", text);
  });
}

}  // namespace epif::app
