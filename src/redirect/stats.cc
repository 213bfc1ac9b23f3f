#include "redirect/stats.h"

#include "redirect/limit_metrics.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace epif::redirect {
namespace {

class Lines {
 public:
  void counter(std::string_view name, std::string_view help) { head(name, "counter", help); }
  void gauge(std::string_view name, std::string_view help) { head(name, "gauge", help); }
  void value(std::string_view name, std::uint64_t value, std::string_view labels = {}) {
    fmt::format_to(std::back_inserter(text_), "epif_redirect_{}{} {}\n", name, labels, value);
  }
  void by_reason(std::string_view metric, const std::map<Code, std::uint64_t>& counts) {
    for (const auto& [code, count] : counts) value(metric, count, fmt::format("{{reason=\"{}\"}}", name(code)));
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void head(std::string_view name, std::string_view type, std::string_view help) {
    fmt::format_to(std::back_inserter(text_), "# HELP epif_redirect_{0} {1}\n# TYPE epif_redirect_{0} {2}\n", name, help, type);
  }
  std::string text_;
};

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

void Stats::add(const Stats& other) {
  connections += other.connections;
  led += other.led;
  active += other.active;
  most += other.most;
  warm = other.warm, first_bytes_wait_ms = other.first_bytes_wait_ms;  // the same in all threads
  completed += other.completed;
  for (const auto& [code, count] : other.refused) refused[code] += count;
  for (const auto& [code, count] : other.cut) cut[code] += count;
  bytes_sent += other.bytes_sent;
  bytes_received += other.bytes_received;
  pool_hits += other.pool_hits;
  pool_misses += other.pool_misses;
  pool_lost += other.pool_lost;
  pool_failed += other.pool_failed;
  pool_idle += other.pool_idle;
  tls_handshakes += other.tls_handshakes;
  tls_resumed += other.tls_resumed;
  trunks += other.trunks;
  trunk_flows += other.trunk_flows;
  trunk_moved += other.trunk_moved;
  legs_multipath += other.legs_multipath;
  legs_fallen_back += other.legs_fallen_back;
  accept_pauses += other.accept_pauses;
  shed += other.shed;
  shed_forwarded += other.shed_forwarded;
  shed_associations += other.shed_associations;
  shed_forwarded_associations += other.shed_forwarded_associations;
  shed_questions += other.shed_questions;
  shed_forwarded_questions += other.shed_forwarded_questions;
  associations += other.associations;
  datagrams_sent += other.datagrams_sent;
  datagrams_received += other.datagrams_received;
  for (const auto& [code, count] : other.datagrams_dropped) datagrams_dropped[code] += count;
  dns_answered += other.dns_answered;
  dns_passed_on += other.dns_passed_on;
  dns_refused += other.dns_refused;
  flows.insert(flows.end(), other.flows.begin(), other.flows.end());
  refusals.insert(refusals.end(), other.refusals.begin(), other.refusals.end());
  std::ranges::stable_sort(refusals, {}, &RefusalStatus::at);
}

std::string metrics_text(const Stats& stats) {
  Lines lines;
  lines.counter("connections_total", "Captured connections accepted.");
  lines.value("connections_total", stats.connections);
  lines.counter("connections_led_total", "Of these, those that the connect hook brought, without address translation.");
  lines.value("connections_led_total", stats.led);
  lines.counter("rules_restored_total", "Times that somebody else removed or changed the rules and they were put back.");
  lines.value("rules_restored_total", stats.rules_restored);
  lines.gauge("connections_active", "Captured connections held now.");
  lines.value("connections_active", stats.active);
  lines.gauge("limit", "What is allowed at most; those of a source and the forwarded ones are for hosts that this node forwards for.");
  lines.value("limit", stats.most, "{limit=\"connections\"}");
  lines.value("limit", stats.warm, "{limit=\"warm_pool_connections\"}");
  lines.value("limit", stats.first_bytes_wait_ms, "{limit=\"first_bytes_wait_ms\"}");
  if (stats.forwarded) {
    for (const auto& [limit, value] : source_limits(*stats.forwarded)) lines.value("limit", value, fmt::format("{{limit=\"{}\"}}", limit));
    lines.gauge("forwarded_active", "Held now for hosts that this node forwards for.");
    for (const auto& [what, value] : held_for_sources(*stats.forwarded)) lines.value("forwarded_active", value, fmt::format("{{what=\"{}\"}}", what));
  }
  lines.counter("shed_total", "Connections, associations and DNS questions refused for a limit.");
  lines.value("shed_total", stats.shed, "{limit=\"connections\"}");
  lines.value("shed_total", stats.shed_associations, "{limit=\"datagram_associations\"}");
  lines.value("shed_total", stats.shed_forwarded_associations, "{limit=\"forwarded_datagram_associations\"}");
  lines.value("shed_total", stats.shed_questions, "{limit=\"dns_queries\"}");
  lines.value("shed_total", stats.shed_forwarded_questions, "{limit=\"forwarded_dns_queries\"}");
  if (stats.forwarded) {
    for (const auto& [limit, value] : shed_for_sources(*stats.forwarded, stats.shed_forwarded)) lines.value("shed_total", value, fmt::format("{{limit=\"{}\"}}", limit));
  }
  lines.gauge("fixed_limit", "Limits and timers that no flag changes.");
  for (const auto& [limit, value] : fixed_limits()) lines.value("fixed_limit", value, fmt::format("{{limit=\"{}\"}}", limit));
  lines.counter("connections_completed_total", "Connections whose both directions ended in order.");
  lines.value("connections_completed_total", stats.completed);
  lines.counter("refused_total", "Connections reset before a byte was relayed.");
  lines.by_reason("refused_total", stats.refused);
  lines.counter("cut_total", "Relayed connections that ended by an error.");
  lines.by_reason("cut_total", stats.cut);
  lines.counter("bytes_total", "Bytes relayed.");
  lines.value("bytes_total", stats.bytes_sent, "{direction=\"sent\"}");
  lines.value("bytes_total", stats.bytes_received, "{direction=\"received\"}");
  lines.counter("pool_total", "Requests for a connection to a proxy, by what the warm pool had.");
  lines.value("pool_total", stats.pool_hits, "{result=\"hit\"}");
  lines.value("pool_total", stats.pool_misses, "{result=\"miss\"}");
  lines.counter("pool_lost_total", "Warm connections that ended or grew old before use.");
  lines.value("pool_lost_total", stats.pool_lost);
  lines.counter("pool_failed_total", "Attempts to fill the pool that failed.");
  lines.value("pool_failed_total", stats.pool_failed);
  lines.gauge("pool_idle", "Warm connections that stand ready.");
  lines.value("pool_idle", stats.pool_idle);
  lines.counter("tls_handshakes_total", "TLS handshakes with proxies that succeeded.");
  lines.value("tls_handshakes_total", stats.tls_handshakes - stats.tls_resumed, "{resumed=\"no\"}");
  lines.value("tls_handshakes_total", stats.tls_resumed, "{resumed=\"yes\"}");
  lines.gauge("trunks", "Trunks to proxies that stand.");
  lines.value("trunks", stats.trunks);
  lines.counter("trunk_flows_total", "Flows whose way to the proxy was a trunk.");
  lines.value("trunk_flows_total", stats.trunk_flows);
  lines.counter("trunk_moved_total", "Of these, those that moved to a connection of their own, being bulk.");
  lines.value("trunk_moved_total", stats.trunk_moved);
  lines.counter("mptcp_legs_total", "Connections to proxies for which --mptcp wished MPTCP, by what they spoke.");
  lines.value("mptcp_legs_total", stats.legs_multipath, "{spoke=\"mptcp\"}");
  lines.value("mptcp_legs_total", stats.legs_fallen_back, "{spoke=\"tcp\"}");
  lines.gauge("datagram_associations", "Sockets of programs whose datagrams are carried now.");
  lines.value("datagram_associations", stats.associations);
  lines.counter("datagrams_total", "Datagrams carried.");
  lines.value("datagrams_total", stats.datagrams_sent, "{direction=\"sent\"}");
  lines.value("datagrams_total", stats.datagrams_received, "{direction=\"received\"}");
  lines.counter("datagrams_dropped_total", "Datagrams that were not carried.");
  lines.by_reason("datagrams_dropped_total", stats.datagrams_dropped);
  lines.counter("dns_total", "DNS questions, by what became of them.");
  lines.value("dns_total", stats.dns_answered, "{result=\"answered\"}");
  lines.value("dns_total", stats.dns_passed_on, "{result=\"passed_on\"}");
  lines.value("dns_total", stats.dns_refused, "{result=\"refused\"}");
  lines.counter("accept_pauses_total", "Times that accepting paused for want of descriptors.");
  lines.value("accept_pauses_total", stats.accept_pauses);
  return lines.take();
}

std::string flows_json(const Stats& stats) {
  std::vector<std::string> flows;
  for (const auto& flow : stats.flows) {
    flows.push_back(fmt::format(
        R"({{"route":{},"flow":{},"client":{},"destination":{},"proxy":{},"bytes_sent":{},"bytes_received":{},"age_ms":{},"mptcp_paths":{},"protocol":{}}})",
        quoted(flow.route), quoted(flow.flow), quoted(flow.client.text()), quoted(flow.destination.text()),
        quoted(flow.proxy), flow.bytes_sent, flow.bytes_received, flow.age_ms, flow.paths,
        quoted(flow.protocol)));
  }
  std::vector<std::string> refusals;
  for (const auto& refusal : stats.refusals) {
    const auto at = std::chrono::floor<std::chrono::seconds>(refusal.at);
    refusals.push_back(fmt::format(
        R"({{"at":"{:%Y-%m-%dT%H:%M:%SZ}","client":{},"destination":{},"reason":{},"message":{}}})",
        fmt::gmtime(std::chrono::system_clock::to_time_t(at)), quoted(refusal.client.text()),
        quoted(refusal.destination.text()), quoted(name(refusal.error.code)), quoted(refusal.error.text())));
  }
  return fmt::format("{{\"flows\":[{}],\"refusals\":[{}]}}\n", fmt::join(flows, ","), fmt::join(refusals, ","));
}

}  // namespace epif::redirect
