#include "net/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

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

}  // namespace epif::net
