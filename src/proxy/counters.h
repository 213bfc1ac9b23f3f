#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "association/udp_counts.h"
#include "base/error.h"
#include "base/ip.h"
#include "model/route.h"

/// What one worker counts, and what the admin socket tells. Plain values: each worker owns its own, and hands out copies.
namespace epif::proxy {

inline constexpr std::size_t code_count = static_cast<std::size_t>(Code::internal) + 1;

/// Counts for each word of the closed list of errors.
class CountByCode {
 public:
  void add(Code code) { ++counts_[static_cast<std::size_t>(code)]; }
  [[nodiscard]] std::uint64_t of(Code code) const { return counts_[static_cast<std::size_t>(code)]; }
  CountByCode& operator+=(const CountByCode& other) {
    for (std::size_t i = 0; i < code_count; ++i) counts_[i] += other.counts_[i];
    return *this;
  }

 private:
  std::array<std::uint64_t, code_count> counts_{};
};

struct RouteCounts {
  std::uint64_t flows = 0;  ///< opened since the start
  std::uint64_t to_server_bytes = 0;
  std::uint64_t to_client_bytes = 0;
  RouteCounts& operator+=(const RouteCounts& other) {
    flows += other.flows;
    to_server_bytes += other.to_server_bytes;
    to_client_bytes += other.to_client_bytes;
    return *this;
  }
};

/// A connection or datagram that was refused, for /flows.
struct Refused {
  std::chrono::system_clock::time_point at{};
  std::string source;       ///< certificate identity, else address
  std::string destination;  ///< empty: it did not come to ask
  Code code = Code::internal;
  std::string message;
  std::string flow{};       ///< and what follows: where a route was found
  std::string policy{};
};

struct Counters {
  std::uint64_t accepted_clear = 0;
  std::uint64_t accepted_tls = 0;
  std::array<std::uint64_t, 3> requests{};  ///< by Protocol
  std::uint64_t opened = 0;
  CountByCode refused;  ///< before a flow was open, the TLS handshake included
  std::deque<Refused> recent;  ///< the latest limits::recent_refusals of each worker, oldest first
  CountByCode ended;    ///< open flows that did not come to their proper end
  std::map<std::string, RouteCounts> routes;
  RouteCounts withdrawn;  ///< the sum of routes that are gone and no longer listed one by one
  std::uint64_t accept_pauses = 0;
  std::uint64_t warm_hits = 0;
  std::uint64_t warm_misses = 0;
  std::uint64_t functions_connected = 0;
  std::uint64_t moved_in = 0;          ///< flows that came from a predecessor
  std::uint64_t moved_out = 0;         ///< and that went to a successor
  std::uint64_t binds = 0;             ///< ports opened for BIND
  std::uint64_t binds_waiting = 0;     ///< of those, now
  std::uint64_t bind_turned_away = 0;  ///< connections of hosts that were not expected
  std::uint64_t trunks = 0;            ///< that stand now
  std::uint64_t trunk_flows = 0;       ///< that came on trunks
  std::uint64_t timers = 0;            ///< armed now
  association::UdpCounts udp;
  Counters& operator+=(const Counters& other);
  /// Keeps it in `recent`.
  void note(Refused one);
  /// Adds up the counts of routes that are not in the table any more, once they are more than `keep`: a table that changes for
  /// months must not fill the memory. Sums over all routes stay what they are.
  void fold_withdrawn(const std::function<bool(const std::string& id)>& in_table, std::size_t keep);
};

/// A running flow, for /flows.
struct FlowView {
  std::uint64_t id = 0;
  std::string stage;
  std::string source;
  std::string destination;
  std::string route;
  std::string flow;
  std::vector<std::string> chain;
  std::uint64_t to_server_bytes = 0;
  std::uint64_t to_client_bytes = 0;
  std::uint64_t age_ms = 0;
};

struct Snapshot {
  Counters counters;
  std::vector<FlowView> flows;
};

/// The latest reading of the routes file.
struct TableState {
  std::uint64_t generation = 0;
  std::size_t routes = 0;
  std::uint64_t reloads = 0;
  std::uint64_t failed_reloads = 0;
  std::string last_error;
};

/// Prometheus text (exposition format 0.0.4).
[[nodiscard]] std::string print_metrics(const Snapshot& snapshot, const TableState& table, std::uint64_t open_descriptors);
/// {"flows":[...],"refusals":[...]}, the newest refusal last; counts and names, never keys or passwords.
[[nodiscard]] std::string print_flows(const Snapshot& snapshot);

}  // namespace epif::proxy
