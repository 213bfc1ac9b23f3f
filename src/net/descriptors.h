#pragma once
#include <cstdint>

namespace epif::net {

/// Raises this process's soft limit on descriptors to the hard one and says how many relayed connections fit under it: two
/// descriptors each, and some left for listeners, pools and functions; at most limits::max_connections.
[[nodiscard]] std::uint32_t connections_that_fit();

}  // namespace epif::net
