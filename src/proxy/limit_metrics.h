#pragma once
#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "admission/client_sessions.h"
#include "base/named_value.h"
#include "net/limiter.h"

namespace epif::proxy {

/// Whatever counts against a limit of the whole process. Referents outlive it.
struct Limited {
  const net::Limiter& connections;
  const net::Limiter& associations;
  const net::Limiter& next_associations;
  const admission::ClientSessions& sessions;
  std::chrono::milliseconds bind_deadline;
  std::size_t warm;  ///< connections that stand ready to each next proxy, each thread
};

/// Prometheus text of the limits, of what is held against them and what was shed, and of SOCKS6 sessions.
[[nodiscard]] std::string print_limits(const Limited& limited);

/// Limits and timers of the proxy that no flag changes, by their names in base/limits.h.
[[nodiscard]] std::span<const NamedValue> fixed_limits();

}  // namespace epif::proxy
