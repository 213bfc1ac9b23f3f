#pragma once
#include <list>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "net/loop.h"
#include "net/relay.h"
#include "net/tcp.h"
#include "net/warm_pool.h"
#include "redirect/datagrams.h"
#include "redirect/dns.h"
#include "redirect/excess.h"
#include "redirect/routes.h"
#include "redirect/settings.h"
#include "redirect/sockets.h"
#include "redirect/stats.h"
#include "redirect/trunks.h"

namespace epif::redirect {

/// A captured connection while it lives. On its worker's thread only.
struct Flow {
  SocketAddress client;                     ///< as its program sees itself
  SocketAddress client_socket;              ///< the kernel's address of the client's socket, and of what it is connected to
  SocketAddress client_sees;
  SocketAddress destination;                ///< where the client wanted to go
  std::shared_ptr<const Routes> routes;     ///< keeps `route` alive
  const Route* route = nullptr;
  std::optional<Program> program;           ///< asked for only where a selector decides
  bool led = false;                         ///< by the connect hook
  bool of_this_node = false;                ///< not of a host that this node forwards for
  net::Limiter::Place place{};              ///< among those of its source, if it is of such a host
  net::Carried sent{};
  net::Carried received{};
  net::TimePoint since = net::Clock::now();
  bool relaying = false;
  std::optional<Error> cut;                 ///< set once, by whoever ends it from outside
  net::Stream* client_stream = nullptr;
  net::Stream* proxy_stream = nullptr;
  net::Cancel reaching;                     ///< ends the attempt to reach the proxy or server

  /// Resets both ends with the reason; the coroutine that carries the flow then ends.
  void end_with(const Error& reason);
};


/// One thread's share of a redirector: its loop's listeners, its flows, its warm pools. All calls on the loop's thread.
class Worker {
 public:
  Worker(net::Loop& loop, const Settings& settings, std::shared_ptr<const Routes> routes);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Takes what comes on these sockets from here on; what waits there already, at once.
  void hear(Sockets sockets);
  /// From here on new connections follow `routes`; flows whose permit is gone or changed are cut with the reason.
  void apply(std::shared_ptr<const Routes> routes);
  /// New TLS connections show the renewed certificate; those that carry flows go on.
  void renew(std::shared_ptr<net::TlsContext> tls);
  /// Connections to proxies that stand ready are made anew.
  void renew_ready();
  /// A successor has the sockets: nothing new is taken, and what is carried goes on to its end.
  void hand_over();
  /// Cuts every flow. Accepting ends with the worker.
  void cut_all(const Error& reason);
  [[nodiscard]] bool idle() const { return flows_.empty() && trunks_->empty() && datagrams_->idle() && dns_->idle(); }
  [[nodiscard]] Stats stats(bool with_flows) const;

 private:
  using FlowPlace = std::list<Flow>::iterator;
  /// A proxy under one identity.
  struct Proxy {
    std::unique_ptr<net::WarmPool> pool;
    std::unique_ptr<Trunks> trunks;  ///< null: not used
  };
  /// What the proxy is asked for, and the program's first bytes.
  struct Request {
    Destination destination;
    Bytes message;                ///< of SOCKS6
    Bytes initial;                ///< not in the message
    std::size_t repeatable = 0;   ///< of the message, from its begin: may travel in a SYN, which may arrive twice
  };
  struct Upstream {
    std::unique_ptr<net::Stream> stream;
    Bytes early;  ///< what the server has sent already
  };

  void accepted(Fd connection, SocketAddress client);
  net::Task<void> serve(Fd connection, SocketAddress client);
  /// What an accepted connection's own address stands for; nullptr: for nothing.
  [[nodiscard]] const net::StandInMaps::Origin* origin_of(const SocketAddress& local);
  /// Where the client wanted to go, if the kernel knows.
  [[nodiscard]] std::optional<SocketAddress> wanted_by(Flow& flow, int connection);
  /// Register, check, forward: finds the route, gets the first bytes, connects, relays.
  net::Task<Result<>> carry(Flow& flow, Fd connection);
  /// Error `limit`: it is one too many, of its source, of all that are forwarded or in all.
  [[nodiscard]] Result<> take_place(Flow& flow);
  /// To an upstream that has answered. `wanted`: where the client wanted to go, if the kernel knows.
  net::Task<Result<Upstream>> begin(Flow& flow, net::Stream& client, std::optional<SocketAddress> wanted);
  /// Writes what the server has said already, as far as the client takes it. Gives the rest.
  Result<ByteSpan> begin_relay(Flow& flow, net::Stream& client, Upstream& upstream);
  net::Task<Result<Bytes>> first_bytes(Flow& flow, net::Stream& client);
  net::Task<Result<Upstream>> reach(Flow& flow, Bytes initial, net::TimePoint deadline);
  net::Task<Result<Upstream>> reach_directly(Flow& flow, Bytes initial, net::TimePoint deadline);
  net::Task<Result<Upstream>> reach_by_proxy(Flow& flow, Bytes initial, net::TimePoint deadline);
  /// One request, of which `sent` bytes are on their way, and its answer. Gives what the server has sent already.
  net::Task<Result<Bytes>> ask_proxy(net::Stream& stream, const Request& request, std::size_t sent, net::TimePoint deadline,
                                     bool& offers_trunk);
  [[nodiscard]] Result<Request> request_for(const Flow& flow, Bytes initial, bool asks) const;
  Proxy& proxy(const NextHop& hop);
  void make_proxies();
  void check_again();
  void arm_expiry();
  [[nodiscard]] Result<const Route*> find_route(Flow& flow, const Routes& routes) const;
  void note_refusal(const SocketAddress& client, const SocketAddress& destination, const Error& error, bool of_this_node);
  void note_end(const Flow& flow, const Result<>& outcome);
  void note_leg(const SocketAddress& proxy, int fd);

  net::Loop& loop_;
  const Settings& settings_;
  std::shared_ptr<net::TlsContext> tls_;
  std::shared_ptr<const Routes> routes_;
  std::list<Flow> flows_;
  std::shared_ptr<Trunks::Carrying> trunks_ = std::make_shared<Trunks::Carrying>();
  std::map<std::pair<SocketAddress, Identity>, Proxy> proxies_;
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  net::Loop::Timer expiry_;
  bool handed_over_ = false;
  std::map<IpAddress, net::StandInMaps::Origin> origins_;  ///< that were asked for: in the kernel none ever changes
  std::size_t forwarded_ = 0;  ///< of flows_, those that hold a place of a source
  Excess excess_;
  Stats counts_;
  std::set<SocketAddress> fallen_back_;  ///< proxies whose legs are TCP though MPTCP is wished
  std::unique_ptr<Datagrams> datagrams_;
  std::unique_ptr<Dns> dns_;
};

}  // namespace epif::redirect
