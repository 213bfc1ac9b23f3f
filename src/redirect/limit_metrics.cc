#include "redirect/limit_metrics.h"

#include "base/limits.h"

namespace epif::redirect {
namespace {

constexpr FixedLimit all[] = {
    {"handshake_deadline_ms", limits::handshake_deadline_ms},
    {"handshake_max_bytes", limits::handshake_max_bytes},
    {"socks6_initial_data_max_bytes", limits::socks6_initial_data_max_bytes},
    {"relay_buffer_bytes", limits::relay_buffer_bytes},
    {"idle_timeout_s", limits::idle_timeout_s},
    {"half_closed_timeout_s", limits::half_closed_timeout_s},
    {"cut_deadline_ms", limits::cut_deadline_ms},
    {"drain_deadline_ms", limits::drain_deadline_ms},
    {"stop_deadline_ms", limits::stop_deadline_ms},
    {"handover_look_ms", limits::handover_look_ms},
    {"reconcile_interval_ms", limits::reconcile_interval_ms},
    {"recent_refusals", limits::recent_refusals},
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
    {"tls_session_life_s", limits::tls_session_life_s},
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
    {"dns_queries", limits::dns_queries},
    {"dns_deadline_ms", limits::dns_deadline_ms},
    {"dns_lifetime_s", limits::dns_lifetime_s},
};

}  // namespace

std::span<const FixedLimit> fixed_limits() { return all; }

}  // namespace epif::redirect
