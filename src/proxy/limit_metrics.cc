#include "proxy/limit_metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

namespace epif::proxy {
namespace {

using Limit = net::Limiter::Limit;

void head(std::string& out, std::string_view metric, std::string_view type, std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", metric, help, metric, type);
}

void single(std::string& out, std::string_view metric, std::string_view type, std::string_view help, std::uint64_t value) {
  head(out, metric, type, help);
  out += fmt::format("{} {}\n", metric, value);
}

void labelled(std::string& out, std::string_view metric, std::string_view limit, std::uint64_t value) {
  out += fmt::format("{}{{limit=\"{}\"}} {}\n", metric, limit, value);
}

/// The limits of one limiter that are in use, by their names in metrics.
struct Named {
  Limit limit;
  std::string_view name;
};
constexpr Named association_limits[] = {{Limit::total, "udp_associations"},
                                        {Limit::per_source, "udp_associations_per_source"},
                                        {Limit::memory, "udp_queued_bytes"},
                                        {Limit::memory_per_source, "udp_queued_bytes_per_source"}};
constexpr Named next_limits[] = {{Limit::total, "udp_next_proxies"},
                                 {Limit::per_source, "udp_next_proxies_per_source"},
                                 {Limit::memory, "udp_next_queued_bytes"},
                                 {Limit::memory_per_source, "udp_next_queued_bytes_per_source"}};

std::uint64_t value_of(const net::Limiter::Limits& limits, Limit limit) {
  switch (limit) {
    case Limit::total: return limits.total;
    case Limit::per_source: return limits.per_source;
    case Limit::handshakes: return limits.handshakes;
    case Limit::handshakes_per_source: return limits.handshakes_per_source;
    case Limit::rate: return limits.per_second;
    case Limit::rate_per_source: return limits.per_second_per_source;
    case Limit::memory: return limits.memory;
    case Limit::memory_per_source: return limits.memory_per_source;
    case Limit::route: break;  // each route has its own
  }
  return 0;
}

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void print_most(std::string& out, const Limited& limited) {
  constexpr auto metric = "epif_proxy_limit";
  head(out, metric, "gauge", "What is allowed at most; memory in bytes, rates in connections a second, deadlines in milliseconds.");
  for (std::size_t i = 0; i < net::Limiter::limit_count; ++i) {
    const auto limit = static_cast<Limit>(i);
    if (limit != Limit::route) labelled(out, metric, net::Limiter::name(limit), value_of(limited.connections.limits(), limit));
  }
  for (const auto& [limit, name] : association_limits) labelled(out, metric, name, value_of(limited.associations.limits(), limit));
  for (const auto& [limit, name] : next_limits) labelled(out, metric, name, value_of(limited.next_associations.limits(), limit));
  labelled(out, metric, "sessions", limited.sessions.limits().total);
  labelled(out, metric, "sessions_per_owner", limited.sessions.limits().per_owner);
  labelled(out, metric, "bind_deadline_ms", static_cast<std::uint64_t>(limited.bind_deadline.count()));
  labelled(out, metric, "warm_pool_connections_next", limited.warm);
  head(out, "epif_proxy_fixed_limit", "gauge", "Limits and timers that no flag changes, by their names in base/limits.h.");
  for (const auto& [name, value] : fixed_limits()) labelled(out, "epif_proxy_fixed_limit", name, value);
}

void print_held(std::string& out, const Limited& limited) {
  constexpr auto metric = "epif_proxy_held";
  const auto held = limited.connections.state();
  const auto associations = limited.associations.state();
  const auto next = limited.next_associations.state();
  head(out, metric, "gauge", "What is held now against the limits.");
  labelled(out, metric, net::Limiter::name(Limit::total), held.connections);
  labelled(out, metric, net::Limiter::name(Limit::handshakes), held.handshakes);
  labelled(out, metric, net::Limiter::name(Limit::memory), held.memory);
  labelled(out, metric, "udp_associations", associations.connections);
  labelled(out, metric, "udp_queued_bytes", associations.memory);
  labelled(out, metric, "udp_next_proxies", next.connections);
  labelled(out, metric, "udp_next_queued_bytes", next.memory);
  labelled(out, metric, "sessions", limited.sessions.state().open);
  single(out, "epif_proxy_sources", "gauge", "Addresses that are remembered.", held.sources);
}

void print_shed(std::string& out, const Limited& limited) {
  constexpr auto metric = "epif_proxy_shed_total";
  const auto shed = limited.connections.state().shed;
  const auto associations = limited.associations.state().shed;
  const auto next = limited.next_associations.state().shed;
  head(out, metric, "counter", "Connections, requests, associations and datagrams refused for a limit.");
  for (std::size_t i = 0; i < net::Limiter::limit_count; ++i) labelled(out, metric, net::Limiter::name(static_cast<Limit>(i)), shed[i]);
  for (const auto& [limit, name] : association_limits) labelled(out, metric, name, associations[static_cast<std::size_t>(limit)]);
  for (const auto& [limit, name] : next_limits) labelled(out, metric, name, next[static_cast<std::size_t>(limit)]);
  labelled(out, metric, "sessions", limited.sessions.state().refused);
}

}  // namespace

std::string print_limits(const Limited& limited) {
  std::string out;
  print_most(out, limited);
  print_held(out, limited);
  print_shed(out, limited);
  const auto state = limited.sessions.state();
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
