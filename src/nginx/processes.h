#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

/// The processes of one NGINX, old and new generations alike, whoever started them: those named nginx whose working folder
/// is the NGINX's own. A master that dies leaves workers behind that go on serving; by the folder they are found.
namespace epif::nginx {

struct NginxProcess {
  int pid = 0;
  int parent = 0;
  char state = '?';  ///< of /proc/PID/stat: R, S, D, T (stopped), Z (ended) ...
  Fd handle;         ///< pidfd
};

[[nodiscard]] std::vector<NginxProcess> processes_in(const std::string& folder);
/// The one whose parent is none of them; null if there is none.
[[nodiscard]] const NginxProcess* master_of(const std::vector<NginxProcess>& all);

/// Stops all processes and returns when none of them runs any more. Errors: timeout.
[[nodiscard]] Result<> freeze(const std::string& folder);
void thaw(const std::string& folder);
/// Kills all and returns when none is left. Errors: timeout.
[[nodiscard]] Result<> kill_all(const std::string& folder);

/// The sockets that they hold, by inode.
[[nodiscard]] std::set<std::uint64_t> sockets_of(const std::string& folder);

/// Starts `command` in `folder`, in a process group of its own, output where ours goes. Gives its process id.
[[nodiscard]] Result<int> start_in(const std::string& folder, const std::vector<std::string>& command);
/// Runs `command` in `folder` to its end. An error (invalid_input) with its words if it does not end with 0.
[[nodiscard]] Result<> run_in(const std::string& folder, const std::vector<std::string>& command);

}  // namespace epif::nginx
