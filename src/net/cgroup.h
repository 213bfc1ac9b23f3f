#pragma once
#include <string>
#include <string_view>

namespace epif::net {

/// Where the cgroup2 hierarchy is mounted, as a path that this process can open; empty if nowhere. `process`: "self" or a process
/// number, as whose namespaces see it.
[[nodiscard]] std::string cgroup_mount(std::string_view process = "self");

}  // namespace epif::net
