#pragma once
#include <string>

#include "proxy/client_sessions.h"
#include "proxy/limiter.h"

namespace epif::proxy {

/// Prometheus text of the limits, of what is held against them and what was shed, and of SOCKS6 sessions.
[[nodiscard]] std::string print_limits(const Limiter& limiter, const ClientSessions& sessions);

}  // namespace epif::proxy
