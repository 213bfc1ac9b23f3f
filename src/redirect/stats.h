#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "redirect/forwarded.h"

/// What a redirector has done and is doing. Counted by each thread for itself, without locks; added up when somebody asks.
namespace epif::redirect {

struct FlowStatus {
  std::string route;        ///< flow id, empty in standalone use
  std::string flow;         ///< "application/flow"
  SocketAddress client;
  SocketAddress destination;
  std::string proxy;        ///< empty: directly to the destination
  std::uint64_t bytes_sent = 0;      ///< client to server
  std::uint64_t bytes_received = 0;
  std::uint64_t age_ms = 0;
  unsigned paths = 0;                ///< of the leg to the proxy, if that is MPTCP; 0: TCP
  std::string_view protocol = "tcp";
};

struct RefusalStatus {
  std::chrono::system_clock::time_point at;
  SocketAddress client;
  SocketAddress destination;
  Error error;
};

struct Stats {
  std::uint64_t connections = 0;                  ///< accepted since the start
  std::uint64_t led = 0;                          ///< of these, by the connect hook
  std::uint64_t rules_restored = 0;               ///< after others had removed or changed them; of the service
  std::uint64_t active = 0;                       ///< held now
  std::uint64_t most = 0;                         ///< that may be held
  std::uint64_t warm = 0;                         ///< connections to keep ready, each thread and proxy
  std::uint64_t first_bytes_wait_ms = 0;
  std::uint64_t completed = 0;                    ///< both directions ended in order
  std::map<Code, std::uint64_t> refused;          ///< reset before a byte was relayed, by reason
  std::map<Code, std::uint64_t> cut;              ///< ended by an error later, by reason
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t pool_hits = 0;
  std::uint64_t pool_misses = 0;
  std::uint64_t pool_lost = 0;
  std::uint64_t pool_failed = 0;
  std::uint64_t pool_idle = 0;
  std::uint64_t tls_handshakes = 0;               ///< with proxies
  std::uint64_t tls_resumed = 0;                  ///< of these, by an earlier session
  std::uint64_t trunks = 0;                       ///< that stand now
  std::uint64_t trunk_flows = 0;                  ///< carried by trunks, now and before
  std::uint64_t trunk_moved = 0;                  ///< of these, that moved to connections of their own
  std::uint64_t legs_multipath = 0;               ///< connections to proxies that carried something, with MPTCP wished: spoke it
  std::uint64_t legs_fallen_back = 0;             ///< spoke TCP
  std::uint64_t associations = 0;                 ///< sockets of programs whose datagrams are carried now
  std::uint64_t datagrams_sent = 0;               ///< handed to a proxy, relay or server
  std::uint64_t datagrams_received = 0;           ///< handed to programs
  std::map<Code, std::uint64_t> datagrams_dropped;  ///< by reason; limit: too many waited or too many sockets
  std::uint64_t dns_answered = 0;                 ///< names of ours
  std::uint64_t dns_passed_on = 0;                ///< to the resolver that was asked
  std::uint64_t dns_refused = 0;
  std::uint64_t accept_pauses = 0;                ///< for want of descriptors
  std::uint64_t shed = 0;                         ///< of `refused`: connections beyond `most`
  std::uint64_t shed_forwarded = 0;               ///< the same beyond the thread's part for all forwarded hosts
  std::uint64_t shed_associations = 0;            ///< of datagrams_dropped: beyond limits::datagram_associations of the thread
  std::uint64_t shed_forwarded_associations = 0;  ///< beyond the part of these for all forwarded hosts
  std::uint64_t shed_questions = 0;               ///< of dns_refused: beyond limits::dns_queries of the thread
  std::uint64_t shed_forwarded_questions = 0;
  std::optional<Forwarded::State> forwarded{};    ///< of all threads at once: add() leaves it alone
  std::vector<FlowStatus> flows;                  ///< only if asked for
  std::deque<RefusalStatus> refusals;             ///< the latest limits::recent_refusals of each thread

  void add(const Stats& other);
};

/// Prometheus text format, version 0.0.4.
[[nodiscard]] std::string metrics_text(const Stats& stats);
/// {"flows":[...],"refusals":[...]}, newest refusals last.
[[nodiscard]] std::string flows_json(const Stats& stats);

}  // namespace epif::redirect
