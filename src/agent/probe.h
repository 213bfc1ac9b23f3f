#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"

namespace epif::agent {

/// The generation of the route table that a redirector or proxy serves, from the metrics on its admin socket
/// (epif_redirect_routes_generation, epif_proxy_routes_generation). Errors: it does not answer (yet).
[[nodiscard]] Result<std::uint64_t> loaded_generation(const std::string& admin_socket);

}  // namespace epif::agent
