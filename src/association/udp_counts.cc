#include "association/udp_counts.h"

#include <fmt/format.h>

namespace epif::association {
namespace {

constexpr std::array<std::string_view, udp_drop_count> drop_names{
    "foreign_source", "no_association", "wrong_path", "malformed", "fragment",  "denied",     "unasked",
    "unresolved",     "no_path",        "limit",      "congested", "too_big",   "unreachable"};

void head(std::string& out, std::string_view metric, std::string_view type, std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", metric, help, metric, type);
}

}  // namespace

std::string_view name(UdpDrop drop) { return drop_names[static_cast<std::size_t>(drop)]; }

UdpCounts& UdpCounts::operator+=(const UdpCounts& other) {
  associations_socks5 += other.associations_socks5;
  associations_socks6 += other.associations_socks6;
  open += other.open;
  destinations += other.destinations;
  next_proxies += other.next_proxies;
  queued_bytes += other.queued_bytes;
  to_server += other.to_server;
  to_client += other.to_client;
  errors_reported += other.errors_reported;
  for (std::size_t i = 0; i < udp_drop_count; ++i) dropped[i] += other.dropped[i];
  return *this;
}

void print_udp(std::string& out, const UdpCounts& counts) {
  head(out, "epif_proxy_udp_associations_total", "counter", "UDP associations opened.");
  out += fmt::format("epif_proxy_udp_associations_total{{protocol=\"socks5\"}} {}\n", counts.associations_socks5);
  out += fmt::format("epif_proxy_udp_associations_total{{protocol=\"socks6\"}} {}\n", counts.associations_socks6);
  head(out, "epif_proxy_udp_associations", "gauge", "UDP associations now.");
  out += fmt::format("epif_proxy_udp_associations {}\n", counts.open);
  head(out, "epif_proxy_udp_destinations", "gauge", "Destinations of UDP associations now.");
  out += fmt::format("epif_proxy_udp_destinations {}\n", counts.destinations);
  head(out, "epif_proxy_udp_next_proxies", "gauge", "Connections of UDP associations to next proxies now.");
  out += fmt::format("epif_proxy_udp_next_proxies {}\n", counts.next_proxies);
  head(out, "epif_proxy_udp_queued_bytes", "gauge", "Datagrams that wait for a connection or a name now.");
  out += fmt::format("epif_proxy_udp_queued_bytes {}\n", counts.queued_bytes);
  head(out, "epif_proxy_udp_datagrams_total", "counter", "Datagrams passed on.");
  out += fmt::format("epif_proxy_udp_datagrams_total{{direction=\"to_server\"}} {}\n", counts.to_server);
  out += fmt::format("epif_proxy_udp_datagrams_total{{direction=\"to_client\"}} {}\n", counts.to_client);
  head(out, "epif_proxy_udp_dropped_total", "counter", "Datagrams that went no further, by reason.");
  for (std::size_t i = 0; i < udp_drop_count; ++i) {
    out += fmt::format("epif_proxy_udp_dropped_total{{reason=\"{}\"}} {}\n", drop_names[i], counts.dropped[i]);
  }
  head(out, "epif_proxy_udp_errors_total", "counter", "ICMP messages reported to clients.");
  out += fmt::format("epif_proxy_udp_errors_total {}\n", counts.errors_reported);
}

}  // namespace epif::association
