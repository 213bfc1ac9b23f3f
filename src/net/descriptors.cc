#include "net/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/fd.h"
#include "base/limits.h"

namespace epif::net {

std::uint32_t connections_that_fit() {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  const auto usable = descriptors.rlim_max > 128 ? descriptors.rlim_max - 64 : descriptors.rlim_max / 2;
  return static_cast<std::uint32_t>(std::min<rlim_t>(usable / 2, limits::max_connections));
}

Result<> room_to_serve() {
  constexpr std::size_t needed = 24;  // loops, netlink watches and questions, an admin's connection, a flow and its proxy, with some to spare
  std::vector<Fd> held;
  while (held.size() < needed) {
    held.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!held.back()) return fail(system_error(errno, "no descriptors are left to serve with"));
  }
  return {};
}

}  // namespace epif::net
