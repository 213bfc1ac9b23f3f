#pragma once
#include <cstddef>
#include <cstdint>

/// Every limit and timer of epif, on one page, with the unit in its name. A limit that a user may change has a flag or a
/// field whose default stands here.
namespace epif::limits {

// Data plane: handshakes
inline constexpr std::uint32_t handshake_deadline_ms = 10'000;       ///< accept to decided, all stages together
inline constexpr std::uint32_t connect_deadline_ms = 10'000;         ///< proxy to server, one address; and for its name
inline constexpr std::size_t names_asked = 4'096;                    ///< questions for the system's resolver, under way and waiting
inline constexpr std::size_t names_asked_per_source = 1'024;
inline constexpr std::size_t name_threads = 64;                      ///< that ask it; one source gets no more of them than are still free
inline constexpr std::uint32_t name_thread_idle_s = 60;              ///< then a thread without work ends
inline constexpr std::uint32_t first_bytes_wait_ms = 2;              ///< redirector waits this long for the client to speak
inline constexpr std::uint32_t first_bytes_wait_max_ms = 1'000;      ///< the longest that --first-bytes-wait takes
inline constexpr std::uint32_t connect_stagger_ms = 250;             ///< before a server's next address is tried as well (RFC 8305)
inline constexpr std::uint32_t reply_hold_ms = 1;                    ///< a reply waits so long for the server's first bytes
inline constexpr std::uint32_t farewell_ms = 2'000;                  ///< for a refused client to read its answer and leave,
inline constexpr std::size_t farewell_max_bytes = 256 * 1024;        ///< and so much of what it still sends is read and dropped
inline constexpr std::size_t admin_head_max_bytes = 8 * 1024;        ///< a question at a proxy's admin socket
inline constexpr std::uint32_t admin_patience_ms = 5'000;            ///< from its connection to the end of the answer
inline constexpr std::uint32_t stop_deadline_ms = 10'000;            ///< from a request to stop to the end of the process
inline constexpr std::size_t recent_refusals = 128;                  ///< kept for /flows
inline constexpr std::uint32_t excess_told_ms = 1'000;               ///< of refusals for a limit, log and /flows name one in this time
inline constexpr std::uint32_t bf_accept_deadline_ms = 3'000;        ///< BF answers `open` within this
inline constexpr std::uint32_t bf_first_bytes_hold_ms = 200;         ///< a BF holds a silent client no longer than this
inline constexpr std::size_t handshake_max_bytes = 24 * 1024;        ///< SOCKS request with options (draft: 20,480) and name
inline constexpr std::size_t socks6_options_max_bytes = 20'480;      ///< draft-12, 20 KB
inline constexpr std::size_t socks6_initial_data_max_bytes = 16'384; ///< draft-12, 2^14
inline constexpr std::size_t bf_early_max_bytes = 16'384;            ///< bytes already read, handed to a BF in `start`
inline constexpr std::size_t bf_message_max_bytes = 64 * 1024;       ///< one control message of the BF contract
inline constexpr std::size_t bf_text_max_bytes = 1'024;              ///< one text in a message of the BF contract
inline constexpr std::size_t bf_map_entries = 64;                    ///< parameters, metadata, details in one message
inline constexpr std::size_t bf_outbox_messages = 1'024;             ///< waiting for a BF that does not read; more: bf_failed
inline constexpr std::uint64_t bf_messages_per_connection = 8;       ///< a BF that sends more floods: bf_failed
inline constexpr std::uint32_t bf_last_words_ms = 1'000;             ///< a server's words before its reset pass the BFs
inline constexpr std::uint32_t bf_direct_look_ms = 200;              ///< a connection that a function carries by itself is held against its limits
inline constexpr std::uint32_t bf_report_wait_ms = 500;              ///< for the last report after both directions ended
inline constexpr std::size_t name_max_bytes = 255;                   ///< SOCKS domain names, user names, passwords

// Data plane: relay
inline constexpr std::size_t relay_buffer_bytes = 64 * 1024;         ///< user-space bytes held per direction, at most
inline constexpr std::size_t frame_pool_bytes = 256 * 1024;          ///< of finished steps, which a thread keeps for the next ones
inline constexpr std::size_t splice_bytes = 256 * 1024;              ///< kernel bytes held per direction while a bulk transfer is spliced
inline constexpr std::size_t splice_after_bytes = 256 * 1024;        ///< in large reads one after the other: a bulk transfer begins
inline constexpr std::size_t splice_large_bytes = 16 * 1024;         ///< such a read
inline constexpr std::size_t splice_pipes = 32;                      ///< of a thread, two descriptors each
inline constexpr std::uint32_t idle_timeout_s = 3'600;               ///< a flow without a byte is closed
inline constexpr std::uint32_t half_closed_timeout_s = 300;          ///< after one side ended
inline constexpr std::uint32_t cut_deadline_ms = 1'000;              ///< from revocation to the last byte (a promise)
inline constexpr std::uint32_t drain_deadline_ms = 5'000;            ///< a stopping proxy lets flows end this long
inline constexpr std::uint64_t reverse_bytes_min = 1024 * 1024;      ///< byte limit of the direction that carries no data:
inline constexpr std::uint32_t reverse_percent = 5;                  ///< the larger of the two
inline constexpr std::uint32_t reverse_look_ms = 100;                ///< behind functions the two are compared this often
inline constexpr std::size_t withdrawn_route_counts = 1'024;         ///< routes that are gone, still counted one by one
inline constexpr std::uint32_t certificate_settle_ms = 200;          ///< certificate and key are replaced within this
inline constexpr std::uint32_t route_expiry_s = 24 * 3'600;          ///< routes outlive a dead control plane this long
inline constexpr std::uint32_t accept_backoff_ms = 50;               ///< pause of accept at EMFILE
inline constexpr std::uint32_t max_connections = 9'000;              ///< per process; 2 descriptors each below the hard limit
inline constexpr std::uint32_t max_connections_per_source = 4'096;
inline constexpr std::uint32_t max_handshakes = 4'096;               ///< connections whose request is not whole yet
inline constexpr std::uint32_t max_handshakes_per_source = 2'048;
inline constexpr std::uint32_t connections_per_second = 40'000;      ///< accepted; as many may come at once
inline constexpr std::uint32_t connections_per_second_per_source = 20'000;
inline constexpr std::size_t handshake_free_bytes = 2 * 1024;        ///< of each handshake, not counted against the next two
inline constexpr std::size_t handshake_memory_bytes = 64 * 1024 * 1024;
inline constexpr std::size_t handshake_memory_bytes_per_source = 16 * 1024 * 1024;
inline constexpr std::uint32_t forwarded_source_percent = 25;        ///< of a redirector's connections: for one address that its node forwards for
inline constexpr std::uint32_t forwarded_percent = 75;               ///< of these, of associations and DNS questions: for all of them
inline constexpr std::uint32_t forwarded_handshake_percent = 50;     ///< of these: without an answer of their proxy yet
inline constexpr std::uint8_t source_prefix_v6 = 64;                 ///< bits of an IPv6 address that are one source of limits
inline constexpr std::size_t rate_sources = 65'536;                  ///< addresses whose rate is remembered
inline constexpr std::uint32_t refusals_waiting = 64;                ///< a thread's refused clients that get an answer; more are reset
inline constexpr std::uint32_t refusal_patience_ms = 1'000;          ///< for a refused client to say which SOCKS it speaks
inline constexpr std::uint32_t bind_deadline_ms = 60'000;            ///< BIND: the peer connects within this
inline constexpr std::size_t bind_early_max_bytes = 64 * 1024;       ///< BIND: what a client may send before its peer is there
inline constexpr std::uint16_t bind_backlog_max = 64;                ///< SOCKS6 Listen Backlog granted
inline constexpr std::uint16_t bind_port_min = 1'024;                ///< lower ones only for --allow-all
inline constexpr std::size_t sessions_max = 16'384;                  ///< SOCKS6 sessions of a process
inline constexpr std::size_t sessions_per_owner = 256;               ///< of one identity or user at one address
inline constexpr std::uint32_t session_idle_s = 600;                 ///< without a request
inline constexpr std::uint32_t session_life_s = 24 * 3'600;
inline constexpr std::uint32_t session_sweep_ms = 1'000;             ///< ended sessions are looked for this often at most
inline constexpr std::uint32_t token_window_max = 4'096;             ///< idempotence tokens granted to a session
inline constexpr std::uint32_t warm_pool_connections = 8;            ///< redirector to proxy, open and authenticated
inline constexpr std::uint32_t warm_pool_connections_most = 64;      ///< grows up to this under load
inline constexpr std::uint32_t warm_pool_idle_s = 60;
inline constexpr std::uint32_t trunk_window_bytes = 64 * 1024;          ///< of one stream, one way, on its way or unread
inline constexpr std::size_t trunk_buffer_bytes = 256 * 1024;           ///< of a trunk, waiting to be sent
inline constexpr std::size_t trunk_frame_bytes = 32 * 1024;
inline constexpr std::size_t trunk_large_bytes = 8 * 1024;              ///< a piece of a bulk transfer
inline constexpr std::uint32_t trunk_bulk_bytes = 128 * 1024;           ///< in such pieces in a row: the stream gets its own connection
inline constexpr std::uint32_t trunk_farewell_ms = 2'000;               ///< for a peer that has heard the end to say its own,
inline constexpr int trunk_farewell_reads = 256;                        ///< and in no more reads
inline constexpr int trunk_unsent_bytes = 64 * 1024;                    ///< of a trunk, in the kernel and not sent
inline constexpr int trunk_reads_at_once = 16;                          ///< before other connections get their turn
inline constexpr std::uint32_t trunk_ask_again_s = 60;                  ///< a proxy that has none is asked again after this
inline constexpr std::uint32_t connect_hook_destinations = 4'096;      ///< led at a time; the least used go by the rules again
inline constexpr std::uint32_t connect_hook_places_tried = 16;         ///< for a destination's stand-in
inline constexpr std::uint32_t warm_pool_connections_next = 4;      ///< proxy to next proxy, each thread
inline constexpr std::uint32_t preconnect_idle_s = 10;               ///< unused connections to a server
inline constexpr std::uint32_t preconnect_max = 64;                  ///< connections that one route keeps ready, each thread
inline constexpr std::uint32_t warm_pool_check_ms = 1'000;            ///< idle ones are looked at this often
inline constexpr std::uint32_t warm_pool_short_life_s = 5;           ///< ended by the proxy sooner: a refusal, not an idle limit
inline constexpr std::uint32_t warm_pool_retry_min_ms = 100;         ///< pause after a failure to refill, doubled up to
inline constexpr std::uint32_t warm_pool_retry_max_ms = 5'000;       ///< this
inline constexpr std::uint32_t warm_pool_refill_ms = 3;              ///< a replacement begins this long after one was handed out
inline constexpr std::uint32_t warm_pool_settle_ms = 200;            ///< after a change of links: they come and go in groups
inline constexpr std::size_t handover_message_max_bytes = 160 * 1024;  ///< a flow that moves to a new process, with its route
inline constexpr std::uint32_t unread_routes_ms = 5'000;              ///< a process that drains and cannot read its routes cuts all then
inline constexpr std::uint32_t handover_drain_s = 24 * 3'600;         ///< an old process's flows, after a new one has taken over
inline constexpr std::uint32_t handover_look_ms = 50;                ///< whether the last of them has ended
inline constexpr std::uint32_t handover_ask_ms = 1'000;              ///< for a new process's question, and for the old one's first word
inline constexpr std::uint32_t handover_serving_ms = 10'000;         ///< an agent waits this long for a new process to serve
inline constexpr std::uint64_t memory_trim_handshakes = 64;          ///< fewer leave too little behind to look for
inline constexpr std::uint32_t memory_trim_look_ms = 1'000;
inline constexpr std::uint32_t tls_session_life_s = 600;             ///< a resumed handshake checks no certificate: not for long
inline constexpr std::size_t tls_sessions_max = 1'024;               ///< that a client keeps, one of each peer, and a server
inline constexpr std::uint32_t mptcp_subflows = 8;                   ///< beyond a connection's first, and addresses of its peer: the kernel's most
inline constexpr std::size_t mptcp_endpoints = 8;                    ///< addresses of this node that MPTCP uses: the kernel's most
inline constexpr std::uint32_t socks4_user_max_bytes = 255;
inline constexpr std::size_t capture_chain_devices = 128;            ///< in one egress chain; the kernel takes up to 256

// Data plane: captured datagrams and DNS, each thread of a redirector
inline constexpr std::size_t datagram_associations = 512;            ///< sockets of programs that talk through a proxy
inline constexpr std::size_t datagram_associations_per_source = 128; ///< the same of one host that the node forwards for, counted for all threads
inline constexpr std::uint32_t datagram_idle_s = 120;                ///< an association without a datagram ends
inline constexpr std::size_t datagrams_waiting = 64;                 ///< of one association, before it stands or while its proxy is slow
inline constexpr std::size_t datagrams_waiting_bytes = 128 * 1024;
inline constexpr std::uint32_t datagram_retry_ms = 1'000;            ///< after a refusal, datagrams of that socket drop this long
inline constexpr std::size_t datagram_reply_sockets = 256;           ///< addresses that answers come from
inline constexpr std::size_t datagrams_at_once = 64;                 ///< read before others get their turn
inline constexpr std::uint32_t dns_deadline_ms = 5'000;              ///< a resolver answers within this
inline constexpr std::size_t dns_queries = 256;                      ///< passed on and not answered yet
inline constexpr std::uint32_t dns_lifetime_s = 60;                  ///< of our own answers

// Data plane: UDP associations of the proxy
inline constexpr std::uint32_t udp_associations = 2'048;             ///< per process; up to 4 descriptors each, and its next proxies'
inline constexpr std::uint32_t udp_associations_per_source = 512;
inline constexpr std::size_t udp_next_proxies = 8;                   ///< connections that one association keeps to next proxies
inline constexpr std::uint32_t udp_next_proxies_all = 2'048;         ///< of all associations of a process
inline constexpr std::uint32_t udp_next_proxies_per_source = 512;
inline constexpr std::size_t udp_queued_bytes_all = 64 * 1024 * 1024;  ///< datagrams that wait, of all associations of a process
inline constexpr std::size_t udp_queued_bytes_per_source = 16 * 1024 * 1024;
inline constexpr std::size_t udp_queued_step_bytes = 16 * 1024;      ///< an association counts against the two in such steps
inline constexpr std::uint32_t udp_first_datagram_s = 60;            ///< an association that nobody uses is closed
inline constexpr std::uint32_t udp_idle_s = 600;                     ///< an association without a datagram is closed
inline constexpr std::size_t udp_destinations = 256;                 ///< of one association
inline constexpr std::uint32_t udp_destination_idle_s = 30;          ///< one that is quiet this long gives way to a new one
inline constexpr std::size_t udp_denied_remembered = 256;            ///< refused destinations of one association, told once each
inline constexpr std::size_t udp_waiting_bytes = 64 * 1024;          ///< of one association, for names and next proxies
inline constexpr std::size_t udp_stream_queue_bytes = 256 * 1024;    ///< datagrams that wait for room in a TCP connection
inline constexpr std::uint32_t udp_queued_ms = 2'000;                ///< older ones are not worth their way
inline constexpr std::uint32_t udp_name_valid_s = 60;                ///< then a destination's name is resolved again
inline constexpr std::uint32_t udp_next_retry_ms = 1'000;            ///< pause after a next proxy refused an association
inline constexpr std::size_t udp_batch = 16;                         ///< datagrams for one system call
inline constexpr unsigned udp_parity_attempts = 32;                  ///< ports tried for a wished parity

// NGINX method (docs/nginx-method.md)
inline constexpr std::uint16_t nginx_port_first = 21'000;            ///< a proxy's ports for pairs of nodes, both ends
inline constexpr std::uint16_t nginx_port_last = 28'999;             ///< included
inline constexpr std::uint32_t nginx_workers = 4;                    ///< processes for each client node; fewer with fewer cores
inline constexpr std::uint32_t nginx_worker_connections = 4'096;     ///< two for each flow
inline constexpr std::size_t nginx_kept_connections = 16;            ///< idle ones to an HTTP server, each worker
inline constexpr std::uint32_t nginx_ready_ms = 5'000;               ///< a start or reload is done within this
inline constexpr std::uint32_t nginx_ready_look_ms = 10;
inline constexpr std::uint32_t nginx_count_ms = 100;                 ///< flows with one direction of data are counted this often
inline constexpr std::uint64_t nginx_reverse_bytes_per_s = 8 * 1024 * 1024;  ///< speed of the direction without data

// Tools of a node: leak-test, observe
inline constexpr std::size_t leak_targets = 32;                      ///< protected blocks that a leak test tries, the first ones
inline constexpr std::uint32_t leak_control_patience_ms = 1'000;     ///< for a control probe, or the detector's mark, to be seen
inline constexpr std::uint32_t leak_moment_ms = 5'000;               ///< for a step of a moment to have happened
inline constexpr std::size_t observed_flows = 4'096;                 ///< peers and ports that are told apart; more are counted only
inline constexpr std::size_t observed_exchanges = 16'384;            ///< connections and datagram exchanges that are followed at once
inline constexpr std::size_t observed_ended = 4'096;                 ///< of these, after their end: what still comes begins none
inline constexpr std::size_t observed_programs = 8;                  ///< named of each peer and port
inline constexpr std::size_t observed_names = 16'384;                ///< addresses whose names are remembered

// Files and documents
inline constexpr std::size_t routes_file_max_bytes = 64 * 1024 * 1024;
inline constexpr std::size_t document_max_bytes = 16 * 1024 * 1024;  ///< one YAML/JSON input file or API body
inline constexpr std::size_t document_depth = 64;
inline constexpr std::size_t chain_max_functions = 16;

// Policy language: hostile text must not overflow the stack or eat the machine
inline constexpr std::size_t policy_text_max_bytes = 1024 * 1024;    ///< one policy file or Policy resource
inline constexpr std::uint32_t policy_nesting = 200;                 ///< brackets and operators inside each other
inline constexpr std::uint32_t policy_expression_depth = 1'000;      ///< length of a chain such as a.b.c or 1 + 1 + 1

// Planner
inline constexpr std::size_t plan_channel_areas = 1'000;           ///< with more areas, channels are not listed

// Control plane
inline constexpr std::uint32_t reconcile_interval_ms = 1'000;        ///< level-triggered look even without an event
inline constexpr std::uint32_t watch_heartbeat_s = 10;
inline constexpr std::uint32_t agent_report_s = 10;                  ///< an agent says that it is there, even without news
inline constexpr std::uint32_t daemon_stop_ms = 8'000;               ///< a redirector or proxy ends within this, or is killed
inline constexpr std::uint32_t instance_retry_ms = 2'000;            ///< between attempts to start a function that cannot run
inline constexpr std::uint32_t agent_soon_ms = 50;                   ///< the agent looks again for what takes milliseconds
inline constexpr std::uint32_t admin_deadline_ms = 1'000;            ///< one question to a redirector or proxy
inline constexpr std::uint32_t agent_silent_s = 30;                  ///< after this nothing new is put on its node
inline constexpr std::uint32_t api_deadline_ms = 30'000;
inline constexpr std::uint32_t engine_deadline_ms = 20'000;          ///< container engine call
inline constexpr std::uint32_t join_token_valid_s = 3'600;
inline constexpr std::uint32_t certificate_valid_days = 90;
inline constexpr std::size_t api_connections = 512;
inline constexpr std::size_t api_header_max_bytes = 32 * 1024;       ///< request line and headers
inline constexpr std::size_t api_watch_batch = 256;                  ///< events read from the store at once
inline constexpr std::size_t store_events_kept = 100'000;            ///< history for watchers; older ones list again
inline constexpr std::size_t resource_max_bytes = 4 * 1024 * 1024;   ///< one stored resource part (metadata, spec, status)
inline constexpr std::size_t member_status_max_bytes = 64 * 1024;    ///< what an agent reports in one document
inline constexpr std::uint32_t watch_retry_min_ms = 100;             ///< pause before a watch reconnects, doubled up to
inline constexpr std::uint32_t watch_retry_max_ms = 5'000;           ///< this

// BF containers
inline constexpr std::uint64_t bf_memory_bytes = 128ull * 1024 * 1024;
inline constexpr std::uint32_t bf_processes = 64;
inline constexpr std::uint32_t bf_start_deadline_ms = 5'000;          ///< from its start to listening on its socket
inline constexpr std::uint32_t bf_descriptors = 16'384;

}  // namespace epif::limits
