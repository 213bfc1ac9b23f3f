#include "redirect/limit_metrics.h"

#include "base/limits.h"

namespace epif::redirect {
namespace {

using Limit = net::Limiter::Limit;
constexpr std::string_view forwarded_connections = "forwarded_connections";
constexpr std::string_view associations_per_source = "datagram_associations_per_source";
constexpr std::string_view questions_per_source = "dns_queries_per_source";

constexpr NamedValue all[] = {
    {"handshake_deadline_ms", limits::handshake_deadline_ms},
    {"handshake_max_bytes", limits::handshake_max_bytes},
    {"socks6_options_max_bytes", limits::socks6_options_max_bytes},
    {"name_max_bytes", limits::name_max_bytes},
    {"socks6_initial_data_max_bytes", limits::socks6_initial_data_max_bytes},
    {"relay_buffer_bytes", limits::relay_buffer_bytes},
    {"splice_bytes", limits::splice_bytes},
    {"splice_after_bytes", limits::splice_after_bytes},
    {"splice_large_bytes", limits::splice_large_bytes},
    {"splice_pipes", limits::splice_pipes},
    {"idle_timeout_s", limits::idle_timeout_s},
    {"half_closed_timeout_s", limits::half_closed_timeout_s},
    {"cut_deadline_ms", limits::cut_deadline_ms},
    {"drain_deadline_ms", limits::drain_deadline_ms},
    {"stop_deadline_ms", limits::stop_deadline_ms},
    {"handover_drain_s", limits::handover_drain_s},
    {"unread_routes_ms", limits::unread_routes_ms},
    {"handover_look_ms", limits::handover_look_ms},
    {"handover_ask_ms", limits::handover_ask_ms},
    {"handover_message_max_bytes", limits::handover_message_max_bytes},
    {"reconcile_interval_ms", limits::reconcile_interval_ms},
    {"accept_backoff_ms", limits::accept_backoff_ms},
    {"source_prefix_v6", limits::source_prefix_v6},
    {"rate_sources", limits::rate_sources},
    {"recent_refusals", limits::recent_refusals},
    {"excess_told_ms", limits::excess_told_ms},
    {"frame_pool_bytes", limits::frame_pool_bytes},
    {"routes_file_max_bytes", limits::routes_file_max_bytes},
    {"capture_chain_devices", limits::capture_chain_devices},
    {"connect_hook_destinations", limits::connect_hook_destinations},
    {"connect_hook_places_tried", limits::connect_hook_places_tried},
    {"warm_pool_connections_most", limits::warm_pool_connections_most},
    {"warm_pool_idle_s", limits::warm_pool_idle_s},
    {"warm_pool_check_ms", limits::warm_pool_check_ms},
    {"warm_pool_short_life_s", limits::warm_pool_short_life_s},
    {"warm_pool_retry_min_ms", limits::warm_pool_retry_min_ms},
    {"warm_pool_retry_max_ms", limits::warm_pool_retry_max_ms},
    {"warm_pool_refill_ms", limits::warm_pool_refill_ms},
    {"warm_pool_settle_ms", limits::warm_pool_settle_ms},
    {"tls_session_life_s", limits::tls_session_life_s},
    {"tls_sessions_max", limits::tls_sessions_max},
    {"certificate_settle_ms", limits::certificate_settle_ms},
    {"memory_trim_handshakes", limits::memory_trim_handshakes},
    {"memory_trim_look_ms", limits::memory_trim_look_ms},
    {"mptcp_subflows", limits::mptcp_subflows},
    {"mptcp_endpoints", limits::mptcp_endpoints},
    {"trunk_window_bytes", limits::trunk_window_bytes},
    {"trunk_frame_bytes", limits::trunk_frame_bytes},
    {"trunk_buffer_bytes", limits::trunk_buffer_bytes},
    {"trunk_large_bytes", limits::trunk_large_bytes},
    {"trunk_bulk_bytes", limits::trunk_bulk_bytes},
    {"trunk_unsent_bytes", limits::trunk_unsent_bytes},
    {"trunk_reads_at_once", limits::trunk_reads_at_once},
    {"trunk_farewell_ms", limits::trunk_farewell_ms},
    {"trunk_farewell_reads", limits::trunk_farewell_reads},
    {"trunk_ask_again_s", limits::trunk_ask_again_s},
    {"datagram_associations", limits::datagram_associations},
    {"datagram_idle_s", limits::datagram_idle_s},
    {"datagram_retry_ms", limits::datagram_retry_ms},
    {"datagram_reply_sockets", limits::datagram_reply_sockets},
    {"datagrams_waiting", limits::datagrams_waiting},
    {"datagrams_waiting_bytes", limits::datagrams_waiting_bytes},
    {"datagrams_at_once", limits::datagrams_at_once},
    {"dns_queries", limits::dns_queries},
    {"dns_deadline_ms", limits::dns_deadline_ms},
    {"dns_lifetime_s", limits::dns_lifetime_s},
};

}  // namespace

std::span<const NamedValue> fixed_limits() { return all; }

std::vector<NamedValue> source_limits(const Forwarded::State& state) {
  return {{forwarded_connections, state.most.total},
          {net::Limiter::name(Limit::per_source), state.most.per_source},
          {net::Limiter::name(Limit::handshakes_per_source), state.most.handshakes_per_source},
          {net::Limiter::name(Limit::rate_per_source), state.most.per_second_per_source},
          {"forwarded_datagram_associations", Forwarded::associations_of_a_thread},
          {associations_per_source, state.most_associations},
          {"forwarded_dns_queries", Forwarded::questions_of_a_thread},
          {questions_per_source, state.most_questions}};
}

std::vector<NamedValue> held_for_sources(const Forwarded::State& state) {
  return {{"connections", state.connections.connections},
          {"handshakes", state.connections.handshakes},
          {"datagram_associations", state.associations.connections},
          {"dns_queries", state.questions.connections}};
}

std::vector<NamedValue> shed_for_sources(const Forwarded::State& state, std::uint64_t shed_by_threads) {
  const auto& shed = state.connections.shed;
  std::vector<NamedValue> made{{forwarded_connections, shed[static_cast<std::size_t>(Limit::total)] + shed_by_threads}};
  for (const auto limit : {Limit::per_source, Limit::handshakes_per_source, Limit::rate_per_source}) {
    made.push_back({net::Limiter::name(limit), shed[static_cast<std::size_t>(limit)]});
  }
  made.push_back({associations_per_source, state.associations.shed[static_cast<std::size_t>(Limit::per_source)]});
  made.push_back({questions_per_source, state.questions.shed[static_cast<std::size_t>(Limit::per_source)]});
  return made;
}

}  // namespace epif::redirect
