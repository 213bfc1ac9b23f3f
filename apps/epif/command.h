#pragma once
#include <CLI/CLI.hpp>

#include "base/error.h"

namespace epif::app {

/// Exit codes of the program (interface.md): 0 done, 1 failed, 2 wrong use, 3 the answer is no.
enum class Exit : int { done = 0, failed = 1, usage = 2, answer_is_no = 3 };

/// Prints `error` to stderr as "epif: where: what: why; what to do" (of a place like "epif redirect" only "redirect") and returns the exit code of its class
/// (usage for wrong arguments, answer_is_no for denied/unfeasible, failed for the rest).
[[nodiscard]] Exit report(const Error& error);

/// Each subcommand file NAME.cc defines `void add_NAME(CLI::App& root, Exit& exit)`: it adds its subcommand(s) to `root`
/// with a callback that runs it and writes `exit`. main calls them in the order of the build's command table.
#define EPIF_COMMAND(name) void add_##name(CLI::App& root, Exit& exit);
#include "commands.inc"
#undef EPIF_COMMAND

}  // namespace epif::app
