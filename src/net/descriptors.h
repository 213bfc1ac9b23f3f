#pragma once
#include "base/error.h"
#include <cstdint>

namespace epif::net {

/// Raises this process's soft limit on descriptors to the hard one and says how many relayed connections fit under it: two
/// descriptors each, and some left for listeners, pools and functions; at most limits::max_connections.
[[nodiscard]] std::uint32_t connections_that_fit();

/// Whether this process may open as many more descriptors as serving anybody takes. Errors: no_descriptors.
[[nodiscard]] Result<> room_to_serve();

}  // namespace epif::net
