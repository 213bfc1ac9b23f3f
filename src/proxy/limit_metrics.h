#pragma once
#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "proxy/client_sessions.h"
#include "proxy/limiter.h"

namespace epif::proxy {

/// Whatever counts against a limit of the whole process. Referents outlive it.
struct Limited {
  const Limiter& connections;
  const Limiter& associations;
  const Limiter& next_associations;
  const ClientSessions& sessions;
  std::chrono::milliseconds bind_deadline;
  std::size_t warm;  ///< connections that stand ready to each next proxy, each thread
};

/// Prometheus text of the limits, of what is held against them and what was shed, and of SOCKS6 sessions.
[[nodiscard]] std::string print_limits(const Limited& limited);

/// A limit or timer that no flag changes, under its name in base/limits.h.
struct FixedLimit {
  std::string_view name;
  std::uint64_t value;
};
[[nodiscard]] std::span<const FixedLimit> fixed_limits();

}  // namespace epif::proxy
