#include "proxy/counters.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "admission/conversation.h"
#include "base/limits.h"

namespace epif::proxy {
namespace {

/// A label value: backslash, quote and line end are escaped.
std::string label(std::string_view text) {
  std::string out;
  for (const char byte : text) {
    if (byte == '\\' || byte == '"') out += '\\';
    if (byte == '\n') {
      out += "\\n";
    } else {
      out += byte;
    }
  }
  return out;
}

void head(std::string& out, std::string_view metric, std::string_view type, std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", metric, help, metric, type);
}

void single(std::string& out, std::string_view metric, std::string_view type, std::string_view help, std::uint64_t value) {
  head(out, metric, type, help);
  out += fmt::format("{} {}\n", metric, value);
}

void by_code(std::string& out, std::string_view metric, std::string_view help, const CountByCode& counts) {
  head(out, metric, "counter", help);
  for (std::size_t i = 0; i < code_count; ++i) {
    const auto code = static_cast<Code>(i);
    if (counts.of(code) > 0) out += fmt::format("{}{{reason=\"{}\"}} {}\n", metric, epif::name(code), counts.of(code));
  }
}

/// What open flows have carried so far stands beside what ended ones did.
std::map<std::string, RouteCounts> with_open_flows(const Snapshot& snapshot) {
  auto routes = snapshot.counters.routes;
  for (const auto& flow : snapshot.flows) {
    if (flow.stage == "open" && !flow.route.empty()) routes[flow.route] += {0, flow.to_server_bytes, flow.to_client_bytes};
  }
  return routes;
}

void print_routes(std::string& out, const Snapshot& snapshot) {
  const auto routes = with_open_flows(snapshot);
  auto all = snapshot.counters.withdrawn;
  for (const auto& [id, counts] : routes) all += counts;
  head(out, "epif_proxy_bytes_total", "counter", "Application bytes carried.");
  out += fmt::format("epif_proxy_bytes_total{{direction=\"to_server\"}} {}\n", all.to_server_bytes);
  out += fmt::format("epif_proxy_bytes_total{{direction=\"to_client\"}} {}\n", all.to_client_bytes);
  head(out, "epif_proxy_route_flows_total", "counter", "Flows opened, by route.");
  for (const auto& [id, counts] : routes) {
    out += fmt::format("epif_proxy_route_flows_total{{route=\"{}\"}} {}\n", label(id), counts.flows);
  }
  head(out, "epif_proxy_route_bytes_total", "counter", "Application bytes carried, by route.");
  for (const auto& [id, counts] : routes) {
    for (const auto& [direction, bytes] :
         {std::pair{"to_server", counts.to_server_bytes}, std::pair{"to_client", counts.to_client_bytes}}) {
      out += fmt::format("epif_proxy_route_bytes_total{{route=\"{}\",direction=\"{}\"}} {}\n", label(id), direction, bytes);
    }
  }
}

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  accepted_clear += other.accepted_clear;
  accepted_tls += other.accepted_tls;
  for (std::size_t i = 0; i < requests.size(); ++i) requests[i] += other.requests[i];
  opened += other.opened;
  refused += other.refused;
  recent.insert(recent.end(), other.recent.begin(), other.recent.end());
  std::ranges::stable_sort(recent, {}, &Refused::at);
  ended += other.ended;
  for (const auto& [id, counts] : other.routes) routes[id] += counts;
  withdrawn += other.withdrawn;
  accept_pauses += other.accept_pauses;
  warm_hits += other.warm_hits;
  warm_misses += other.warm_misses;
  functions_connected += other.functions_connected;
  moved_in += other.moved_in;
  moved_out += other.moved_out;
  udp += other.udp;
  binds += other.binds;
  binds_waiting += other.binds_waiting;
  bind_turned_away += other.bind_turned_away;
  trunks += other.trunks;
  trunk_flows += other.trunk_flows;
  timers += other.timers;
  return *this;
}

namespace {

/// A client may name a host by any bytes; in JSON they would not be text.
void make_text(std::string& words) {
  if (std::ranges::all_of(words, [](char byte) { return static_cast<unsigned char>(byte) < 0x80; })) return;
  std::string text;
  for (const char byte : words) {
    const auto value = static_cast<unsigned char>(byte);
    text += value < 0x80 ? std::string(1, byte) : fmt::format("\\x{:02x}", value);
  }
  words = std::move(text);
}

}  // namespace

void Counters::note(Refused one) {
  for (auto* words : {&one.source, &one.destination, &one.message}) make_text(*words);
  one.at = std::chrono::system_clock::now();
  if (recent.size() == limits::recent_refusals) recent.pop_front();
  recent.push_back(std::move(one));
}

void Counters::fold_withdrawn(const std::function<bool(const std::string&)>& in_table, std::size_t keep) {
  const auto gone = [&](const auto& entry) { return !in_table(entry.first); };
  if (static_cast<std::size_t>(std::ranges::count_if(routes, gone)) <= keep) return;
  for (const auto& entry : routes) {
    if (gone(entry)) withdrawn += entry.second;
  }
  std::erase_if(routes, gone);
}

std::string print_metrics(const Snapshot& snapshot, const TableState& table, std::uint64_t open_descriptors) {
  const auto& counters = snapshot.counters;
  std::string out;
  head(out, "epif_proxy_connections_total", "counter", "Connections accepted.");
  out += fmt::format("epif_proxy_connections_total{{listener=\"clear\"}} {}\n", counters.accepted_clear);
  out += fmt::format("epif_proxy_connections_total{{listener=\"tls\"}} {}\n", counters.accepted_tls);
  head(out, "epif_proxy_requests_total", "counter", "Whole requests read.");
  for (std::size_t i = 0; i < counters.requests.size(); ++i) {
    out += fmt::format("epif_proxy_requests_total{{protocol=\"{}\"}} {}\n", name(static_cast<admission::Protocol>(i)), counters.requests[i]);
  }
  std::map<std::string, std::uint64_t> stages{{"handshake", 0}, {"deciding", 0}, {"open", 0}};
  for (const auto& flow : snapshot.flows) ++stages[flow.stage];
  head(out, "epif_proxy_connections", "gauge", "Connections now, by stage.");
  for (const auto& [stage, count] : stages) out += fmt::format("epif_proxy_connections{{stage=\"{}\"}} {}\n", stage, count);
  single(out, "epif_proxy_flows_opened_total", "counter", "Flows opened.", counters.opened);
  by_code(out, "epif_proxy_refused_total", "Connections refused before they were open, by reason.", counters.refused);
  by_code(out, "epif_proxy_cut_total", "Open flows that did not come to their proper end, by reason.", counters.ended);
  print_routes(out, snapshot);
  association::print_udp(out, counters.udp);
  single(out, "epif_proxy_functions_connected", "gauge", "Control connections to bridging functions.", counters.functions_connected);
  out += fmt::format("# HELP epif_proxy_flows_moved_total Flows of bridging functions that a process took from its predecessor, or gave its successor.\n"
                     "# TYPE epif_proxy_flows_moved_total counter\n"
                     "epif_proxy_flows_moved_total{{way=\"in\"}} {}\nepif_proxy_flows_moved_total{{way=\"out\"}} {}\n",
                     counters.moved_in, counters.moved_out);
  single(out, "epif_proxy_accept_pauses_total", "counter", "Pauses of accept for want of descriptors.", counters.accept_pauses);
  single(out, "epif_proxy_warm_hits_total", "counter", "Connections to next proxies that stood ready.", counters.warm_hits);
  single(out, "epif_proxy_warm_misses_total", "counter", "Connections to next proxies made on demand.", counters.warm_misses);
  single(out, "epif_proxy_binds_total", "counter", "Ports opened for BIND.", counters.binds);
  single(out, "epif_proxy_binds_waiting", "gauge", "Ports of BIND that wait for their peer.", counters.binds_waiting);
  single(out, "epif_proxy_bind_turned_away_total", "counter", "Connections to ports of BIND by hosts that were not expected.",
         counters.bind_turned_away);
  single(out, "epif_proxy_trunks", "gauge", "Connections that carry many flows.", counters.trunks);
  single(out, "epif_proxy_trunk_flows_total", "counter", "Flows that came on trunks.", counters.trunk_flows);
  single(out, "epif_proxy_timers", "gauge", "Timers that are armed.", counters.timers);
  single(out, "epif_proxy_open_descriptors", "gauge", "Open file descriptors.", open_descriptors);
  single(out, "epif_proxy_routes", "gauge", "Routes in the table that serves.", table.routes);
  single(out, "epif_proxy_routes_generation", "gauge", "Generation of the table that serves.", table.generation);
  head(out, "epif_proxy_reloads_total", "counter", "Readings of the routes file.");
  out += fmt::format("epif_proxy_reloads_total{{outcome=\"ok\"}} {}\n", table.reloads);
  out += fmt::format("epif_proxy_reloads_total{{outcome=\"failed\"}} {}\n", table.failed_reloads);
  single(out, "epif_proxy_routes_stale", "gauge", "1 while the routes file is bad and an older table serves.",
         table.last_error.empty() ? 0 : 1);
  return out;
}

std::string print_flows(const Snapshot& snapshot) {
  boost::json::array flows;
  for (const auto& flow : snapshot.flows) {
    flows.push_back({{"id", flow.id},
                     {"stage", flow.stage},
                     {"source", flow.source},
                     {"destination", flow.destination},
                     {"route", flow.route},
                     {"flow", flow.flow},
                     {"chain", boost::json::array(flow.chain.begin(), flow.chain.end())},
                     {"to_server_bytes", flow.to_server_bytes},
                     {"to_client_bytes", flow.to_client_bytes},
                     {"age_ms", flow.age_ms}});
  }
  boost::json::array refusals;
  for (const auto& refused : snapshot.counters.recent) {
    const auto second = std::chrono::system_clock::to_time_t(refused.at);
    refusals.push_back({{"at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(second))},
                        {"source", refused.source},
                        {"destination", refused.destination},
                        {"reason", epif::name(refused.code)},
                        {"message", refused.message},
                        {"flow", refused.flow},
                        {"policy", refused.policy}});
  }
  return boost::json::serialize(boost::json::object{{"flows", std::move(flows)}, {"refusals", std::move(refusals)}}) + "\n";
}

}  // namespace epif::proxy
