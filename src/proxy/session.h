#pragma once
#include "onward/next_hop.h"
#include "proxy/peer_listener.h"
#include "proxy/worker.h"

namespace epif::proxy {

/// The host that is to connect to the port of a BIND; nothing where the request does not say: SOCKS6 says it only by our option.
[[nodiscard]] std::optional<Destination> expected_host(const admission::ClientRequest& request);

/// One client connection from its first byte to its end. The order of security, in this order of calls (dataplane.md):
/// register, read the request, match the route, let every BF accept, connect upstream, answer, relay. Nothing, not even a
/// SYN, goes upstream before the route and all BFs have said yes.
class Worker::Session {
 public:
  Session(Worker& worker, SocketAddress peer, net::Limiter::Place place);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] net::Task<void> run(Fd connection, Listener kind, Dialect dialect);
  /// Goes on with a flow of a predecessor: session_move.cc.
  [[nodiscard]] net::Task<void> go_on(MovedFlow moved, bridge::Arrival& arrival);
  /// For a stream of a trunk whose client has shown who it is.
  [[nodiscard]] net::Task<void> run(std::unique_ptr<net::Stream> stream, Identity identity, Listener kind, Dialect dialect);

 private:
  [[nodiscard]] net::Task<Result<>> secure(std::unique_ptr<net::SocketStream> socket);
  /// Answers a request with success, or fails, and then the client has its answer to come. Without an upstream afterwards
  /// all is done.
  [[nodiscard]] net::Task<void> associate(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] net::Task<Result<>> open(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] net::Task<Result<>> open_connection(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] Result<RoutePtr> decide(const admission::ClientRequest& request) const;
  [[nodiscard]] Result<> take_route(Result<RoutePtr> route);

  // BIND: session_bind.cc
  /// What a client sends before its peer is there waits; a port is told first, the peer's address second. With a backlog the
  /// connection is only a handle: the port lives as long as it does.
  [[nodiscard]] net::Task<Result<>> open_bind(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] net::Task<Result<ExpectedPeer>> expected_peer(admission::Conversation& talk, const admission::ClientRequest& request);
  /// Where SOCKS6 wants the port; unspecified otherwise.
  [[nodiscard]] Result<SocketAddress> wanted_port(const admission::ClientRequest& request) const;
  [[nodiscard]] Result<OpenPort> bind_port(const admission::ClientRequest& request, const ExpectedPeer& expected, int backlog) const;
  [[nodiscard]] net::Task<Result<>> serve_port(admission::Conversation& talk, const admission::ClientRequest& request, OpenPort port, ExpectedPeer expected);
  [[nodiscard]] net::Task<Result<>> keep_port(admission::Conversation& talk, const admission::ClientRequest& request, OpenPort port, std::uint16_t backlog);
  [[nodiscard]] net::Task<Result<>> await_peer(admission::Conversation& talk, PeerListener& listener);

  // BIND by a next proxy, which listens: session_bind_next.cc
  struct SecondReply {
    Result<> outcome{};
    bool there = false;  ///< or failed
  };
  [[nodiscard]] net::Task<Result<>> open_bind_next(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] net::Task<Result<>> serve_next_port(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] net::Task<void> await_second(SecondReply& second, net::TimePoint deadline);
  [[nodiscard]] net::Task<void> hold_client(admission::Conversation& talk, SecondReply& second, net::TimePoint deadline);

  [[nodiscard]] net::Task<Result<>> open_chain(const admission::ClientRequest& request);

  // Names: session_names.cc
  /// Addresses of a host on the flow's route. Ends early when the client leaves or the flow is cut; a client that only ends its
  /// side gives way to others. What the client sends meanwhile is held for it: spans of its early bytes end here.
  [[nodiscard]] net::Task<Result<std::vector<IpAddress>>> resolve(admission::Conversation& talk, const Destination& host);
  struct Lookup {
    net::Resolver::Asking asking;
    Result<std::vector<IpAddress>> found = fail(Code::internal, "not asked yet");
    bool over = false;
  };
  [[nodiscard]] net::Task<void> look_up(Lookup& lookup, const Destination& host, RoutePtr route);
  [[nodiscard]] net::Task<void> watch_client(admission::Conversation& talk, Lookup& lookup) const;

  [[nodiscard]] net::Task<Result<onward::Upstream>> connect(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] net::Task<Result<onward::Upstream>> ask_next(onward::NextRequest request, const admission::ClientRequest& by,
                                                                ByteSpan first);
  [[nodiscard]] net::Task<Result<onward::Upstream>> connect_server(admission::Conversation& talk, const admission::ClientRequest& request);
  /// From accept to an upstream that stands and an answered client; false if it ends there.
  [[nodiscard]] net::Task<bool> begin(Fd connection, Listener kind, Dialect dialect);
  /// The same from where client_ stands. `from_first_byte` as of Conversation::read_request().
  [[nodiscard]] net::Task<bool> begin_request(Listener kind, Dialect dialect, net::TimePoint deadline,
                                              std::optional<std::chrono::milliseconds> from_first_byte);

  // Trunks: session_trunk.cc
  [[nodiscard]] bool is_for_trunks(const admission::ClientRequest& request) const;
  [[nodiscard]] net::Task<Result<>> serve_trunks(admission::Conversation& talk, const admission::ClientRequest& request, Listener kind, Dialect dialect);
  [[nodiscard]] net::Task<Result<>> become_trunk(admission::Conversation& talk, const admission::ClientRequest& request, Listener kind, Dialect dialect);
  [[nodiscard]] net::Task<void> carry_trunk(const TrunkToken& token, Bytes early, Listener kind, Dialect dialect);
  [[nodiscard]] net::Task<Result<>> join_stream(admission::Conversation& talk, const admission::ClientRequest& request);
  [[nodiscard]] net::Task<void> carry();
  /// Nothing: the flow goes on in another process.
  [[nodiscard]] net::Task<std::optional<Result<>>> carry_through_chain(bool moved_here);
  [[nodiscard]] socks6::StackOptions apply_stack(const admission::ClientRequest& request) const;
  /// The same with `remote` as what is told about the other leg.
  [[nodiscard]] socks6::StackOptions apply_stack(const admission::ClientRequest& request, const socks6::StackOptions& remote) const;
  void watch_reverse();
  void refused(const Error& why) const;
  void ended(const Result<>& outcome);
  [[nodiscard]] std::string source() const;

  Worker& worker_;
  net::Limiter::Place place_;
  net::Limiter::Place route_place_;
  Flow flow_;
  std::unique_ptr<net::Stream> client_;
  Bytes early_;  ///< of the client, read with its request
  onward::Upstream upstream_;
  ConnectionKeys keys_;
  std::unique_ptr<bridge::Chain> chain_;
  net::Loop::Timer reverse_timer_;
  std::chrono::sys_seconds certificate_end_ = std::chrono::sys_seconds::max();  ///< of the client's; in clear it has none
  bool on_trunk_ = false;  ///< the client's stream is one of a trunk
};

}  // namespace epif::proxy
