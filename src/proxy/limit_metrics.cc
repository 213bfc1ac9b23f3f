#include "proxy/limit_metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

namespace epif::proxy {
namespace {

using Limit = Limiter::Limit;

void head(std::string& out, std::string_view metric, std::string_view type, std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", metric, help, metric, type);
}

void single(std::string& out, std::string_view metric, std::string_view type, std::string_view help, std::uint64_t value) {
  head(out, metric, type, help);
  out += fmt::format("{} {}\n", metric, value);
}

void labelled(std::string& out, std::string_view metric, Limit limit, std::uint64_t value) {
  out += fmt::format("{}{{limit=\"{}\"}} {}\n", metric, Limiter::name(limit), value);
}

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

std::string print_limits(const Limiter& limiter, const ClientSessions& sessions) {
  const auto& most = limiter.limits();
  const auto held = limiter.state();
  std::string out;
  head(out, "epif_proxy_limit", "gauge", "What is allowed at most; memory in bytes, rates in connections a second.");
  labelled(out, "epif_proxy_limit", Limit::total, most.total);
  labelled(out, "epif_proxy_limit", Limit::per_source, most.per_source);
  labelled(out, "epif_proxy_limit", Limit::handshakes, most.handshakes);
  labelled(out, "epif_proxy_limit", Limit::handshakes_per_source, most.handshakes_per_source);
  labelled(out, "epif_proxy_limit", Limit::rate, most.per_second);
  labelled(out, "epif_proxy_limit", Limit::rate_per_source, most.per_second_per_source);
  labelled(out, "epif_proxy_limit", Limit::memory, most.memory);
  labelled(out, "epif_proxy_limit", Limit::memory_per_source, most.memory_per_source);
  head(out, "epif_proxy_held", "gauge", "What is held now against the limits.");
  labelled(out, "epif_proxy_held", Limit::total, held.connections);
  labelled(out, "epif_proxy_held", Limit::handshakes, held.handshakes);
  labelled(out, "epif_proxy_held", Limit::memory, held.memory);
  head(out, "epif_proxy_shed_total", "counter", "Connections and requests refused for a limit.");
  for (std::size_t i = 0; i < Limiter::limit_count; ++i) labelled(out, "epif_proxy_shed_total", static_cast<Limit>(i), held.shed[i]);
  single(out, "epif_proxy_sources", "gauge", "Addresses that are remembered.", held.sources);

  const auto state = sessions.state();
  single(out, "epif_proxy_sessions", "gauge", "SOCKS6 sessions that are open.", state.open);
  single(out, "epif_proxy_sessions_opened_total", "counter", "SOCKS6 sessions opened.", state.opened);
  single(out, "epif_proxy_sessions_refused_total", "counter", "SOCKS6 sessions not opened for a limit.", state.refused);
  single(out, "epif_proxy_sessions_invalid_total", "counter", "Requests that named no valid session.", state.invalid);
  head(out, "epif_proxy_tokens_total", "counter", "Idempotence tokens, by outcome.");
  out += fmt::format("epif_proxy_tokens_total{{outcome=\"spent\"}} {}\n", state.tokens_spent);
  out += fmt::format("epif_proxy_tokens_total{{outcome=\"rejected\"}} {}\n", state.tokens_rejected);
  single(out, "epif_proxy_resident_bytes", "gauge", "Memory of the process that is in RAM.", resident_bytes());
  return out;
}

}  // namespace epif::proxy
