#pragma once
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "admission/client_sessions.h"
#include "admission/users.h"
#include "association/datagrams.h"
#include "association/port_reservations.h"
#include "bridge/chain.h"
#include "bridge/hpke.h"
#include "model/routing.h"
#include "net/limiter.h"
#include "net/resolver.h"
#include "net/tcp.h"
#include "net/tls.h"
#include "net/turns.h"
#include "net/warm_pool.h"
#include "onward/upstream.h"
#include "proxy/certificate_files.h"
#include "proxy/counters.h"
#include "proxy/flow.h"
#include "proxy/moved_flow.h"
#include "proxy/pair_keys.h"
#include "proxy/trunks.h"

namespace epif::proxy {

/// `total` of which each holds datagrams that wait.
[[nodiscard]] inline net::Limiter::Limits udp_limits(std::uint32_t total, std::uint32_t per_source) {
  net::Limiter::Limits made{total, per_source};
  made.memory = limits::udp_queued_bytes_all;
  made.memory_per_source = limits::udp_queued_bytes_per_source;
  return made;
}

/// What all workers share: read-only after the start, or thread-safe. Outlives them.
struct Shared {
  bool allow_all = false;
  admission::Users users{};                        ///< for the listener in clear
  std::optional<hpke::KeyPair> keys{};
  net::Limiter limiter;
  admission::ClientSessions sessions{{}};
  std::chrono::milliseconds bind_deadline{limits::bind_deadline_ms};  ///< for the peer of a BIND
  net::Resolver resolver{};
  net::Limiter associations{udp_limits(limits::udp_associations, limits::udp_associations_per_source)};
  net::Limiter next_associations{udp_limits(limits::udp_next_proxies_all, limits::udp_next_proxies_per_source)};
  association::PortReservations reservations{};
  std::vector<SocketAddress> name_servers{};       ///< of the DNS service; empty: the system's
  net::Splice splice = net::Splice::bulk;
  net::Turns turns = net::Turns::batch;            ///< of the workers' threads
  std::size_t warm = limits::warm_pool_connections_next;  ///< connections that stand ready, to each next proxy and on each thread
  bool trunking = true;                            ///< trunks are offered
  Trunks trunks{};
  bool multipath = false;                          ///< MPTCP from clients and to next proxies
};

/// One thread's part of the proxy: its loop, its listeners, its flows. Nothing of a flow is shared with other threads. All
/// calls are for the loop's own thread; others post.
class Worker final : association::Surroundings {
 public:
  Worker(net::Loop& loop, Shared& shared, Certified certified, std::shared_ptr<const Routing> routing);
  ~Worker() override;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  enum class Listener { clear, tls };
  /// `dialect`: how clients of this listener write SOCKS6.
  void listen(Fd listener, Listener kind, Dialect dialect);

  /// Takes SOCKS6 datagrams for associations of this thread, which is number `index` of `sharing` that share the port.
  void listen_datagrams(Fd socket, std::uint16_t index, std::uint16_t sharing);

  /// From now on this table decides. Every flow is looked at again: one whose route is gone, changed or past its end, or
  /// that a new connection like it would not get any more, is cut at once, with an error at both ends; one whose route carries on is not touched.
  void adopt(std::shared_ptr<const Routing> routing);

  /// New handshakes use this certificate, and connections kept ready under the old one are replaced. Running flows go on.
  void renew(Certified certified);
  /// Connections to next proxies that stand ready are made anew.
  void renew_ready();

  /// Accepts nothing more and lets go of clients that have not asked for anything yet.
  void stop_accepting();
  /// The same for a successor's sake: who is being served, or connected and about to ask, is served to the end.
  /// Flows in the hands of bridging functions leave one after the other, as soon as they can, by `give`, which is called on this thread;
  /// without it they stay like all others.
  using Give = std::function<void(MovedFlows moved)>;
  void hand_over(Give give);
  /// As of association::Datagrams: to the old process's side, and to the new one's.
  void hear_datagrams(Fd successor) { datagrams_.hear_successor(std::move(successor)); }
  void let_go_of_datagrams() { datagrams_.let_go(); }
  void pass_datagrams(Fd predecessor) { datagrams_.pass_on(std::move(predecessor)); }
  /// There is no successor any more.
  void keep_flows() { give_ = nullptr; }
  /// Flows from a predecessor go on here, if this table still grants them; otherwise they are cut.
  void take(MovedFlows moved);
  /// Cuts flows that cannot leave after hand_over().
  void cut_staying(const Error& why);
  void cut_all(const Error& why);
  [[nodiscard]] std::size_t connections() const { return flows_.size(); }
  [[nodiscard]] Snapshot snapshot() const;
  [[nodiscard]] net::Loop& loop() const { return loop_; }

 private:
  class Session;
  friend class Session;
  /// Where a stream of a trunk comes from.
  struct TrunkClient {
    SocketAddress peer;
    Identity identity;
    std::chrono::sys_seconds certificate_end;
    Listener kind;
    Dialect dialect;
  };
  void accepted_on_trunk(std::unique_ptr<net::Stream> stream, TrunkClient client);
  [[nodiscard]] net::Task<void> serve_on_trunk(std::unique_ptr<net::Stream> stream, TrunkClient client, net::Limiter::Place place);
  [[nodiscard]] net::Task<void> refuse_stream(std::unique_ptr<net::Stream> client, Dialect dialect);
  void accepted(Fd connection, SocketAddress peer, Listener kind, Dialect dialect);
  [[nodiscard]] net::Task<void> serve(Fd connection, SocketAddress peer, Listener kind, Dialect dialect, net::Limiter::Place place);
  [[nodiscard]] net::Task<void> refuse(Fd connection, SocketAddress peer, Listener kind, Dialect dialect, Error why);
  // What associations need: worker_associations.cc
  [[nodiscard]] const Routing& routing() const override;
  [[nodiscard]] RoutePtr route_for_all() const override;
  [[nodiscard]] bool certified() const override;
  [[nodiscard]] net::WarmPool& pool_to(const NextHop& next) override;
  void route_taken(const std::string& route) override;
  void route_carried(const std::string& route, std::uint64_t to_server, std::uint64_t to_client) override;
  void destination_refused(const std::string& client, const Destination& destination, const Error& why) override;
  void destination_cut(Code why) override;
  [[nodiscard]] net::WarmPool& preconnected(const SocketAddress& server, std::uint32_t keep);
  void fill_pools();
  void drop_unused_pools();
  /// Gives away what can leave now, once all that is ready has run.
  void leave_soon();
  void leave();
  /// Cuts the flow when its route, as it is now, comes to its end.
  void follow_expiry(Flow& flow);

  net::Loop& loop_;
  Shared& shared_;
  Certified certified_;
  std::shared_ptr<const Routing> routing_;
  RoutePtr open_route_;
  bridge::ControlPool controls_;
  association::Datagrams datagrams_;
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  std::set<Flow*> flows_;
  std::set<net::Trunk*> trunks_;
  std::map<std::string, std::unique_ptr<net::WarmPool>> pools_;
  net::Loop::Timer pools_end_;  ///< when the first route that keeps connections ready comes to its end
  Counters counters_;
  std::uint64_t next_flow_ = 1;
  std::uint32_t refusing_ = 0;
  bool stopping_ = false;
  bool draining_ = false;  ///< nothing new is to come here
  Give give_{};            ///< to a successor
  bool leaving_ = false;   ///< leave() is to come
  /// Flows that leave together, until the sessions of all have let go of their sockets.
  struct Leaving {
    MovedFlows moved;
    std::size_t missing = 0;
    Give give;
  };
  std::map<const Flow*, std::pair<std::shared_ptr<Leaving>, std::size_t>> left_;  ///< and each one's place there
  /// What is still of use in the next process.
  struct Parting {
    Fd client;
    Fd server;
    net::Limiter::Place place;
    net::Limiter::Place route_place;
  };
  void let_go(const Flow& flow, Parting parting);
};

}  // namespace epif::proxy
