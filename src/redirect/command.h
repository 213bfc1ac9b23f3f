#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

/// The guarded program of `--exec`.
namespace epif::redirect {

/// A started child.
struct Child {
  int pid = -1;
  Fd process;  ///< pidfd: readable when the child has ended
};

/// Starts `words` with our standard streams and environment, as `user` (name; empty: as we are), signals unblocked, and kept from sockets
/// that no guard sees (confine.h). Errors:
/// not_found (user), no_descriptors, io. A program that cannot be run ends with 127 (not there) or 126, as in a shell.
[[nodiscard]] Result<Child> start_command(const std::vector<std::string>& words, const std::string& user);

/// The exit code of an ended child, 128 + signal if a signal ended it; nothing while it runs.
[[nodiscard]] std::optional<int> exit_code(const Child& child);

}  // namespace epif::redirect
