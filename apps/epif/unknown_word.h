#pragma once
#include <CLI/CLI.hpp>
#include <span>
#include <string>

namespace epif::app {

/// Of arguments that CLI11 refused: the first command or long option that is not known, in a sentence with the nearest known one.
/// Empty if there is none, and CLI11's own words say what is wrong.
[[nodiscard]] std::string unknown_word(CLI::App& root, std::span<const char* const> arguments);

}  // namespace epif::app
