#pragma once
#include "proxy/worker.h"

namespace epif::proxy {

/// One client connection from its first byte to its end. The order of security, in this order of calls (dataplane.md):
/// register, read the request, match the route, let every BF accept, connect upstream, answer, relay. Nothing, not even a
/// SYN, goes upstream before the route and all BFs have said yes.
class Worker::Session {
 public:
  Session(Worker& worker, SocketAddress peer, Limiter::Place place);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] net::Task<void> run(Fd connection, Listener kind);

 private:
  [[nodiscard]] net::Task<Result<>> secure(std::unique_ptr<net::SocketStream> socket);
  [[nodiscard]] net::Task<Result<>> open(Conversation& talk, const ClientRequest& request);
  [[nodiscard]] Result<RoutePtr> decide(const ClientRequest& request) const;
  [[nodiscard]] net::Task<Result<>> open_chain(const ClientRequest& request);
  [[nodiscard]] net::Task<Result<Upstream>> connect(const ClientRequest& request, ByteSpan first);
  [[nodiscard]] net::Task<Result<Upstream>> connect_server(const ClientRequest& request, ByteSpan first);
  [[nodiscard]] net::Task<Result<>> carry(ByteSpan early);
  [[nodiscard]] net::Task<Result<>> carry_through_chain();
  [[nodiscard]] socks6::StackOptions apply_stack(const ClientRequest& request) const;
  void watch_reverse();
  void refused(const Error& why) const;
  void ended(const Result<>& outcome);
  [[nodiscard]] std::string source() const;

  Worker& worker_;
  Limiter::Place place_;
  Limiter::Place route_place_;
  Flow flow_;
  std::unique_ptr<net::Stream> client_;
  Bytes early_;  ///< of the client, read with its request
  Upstream upstream_;
  ConnectionKeys keys_;
  std::unique_ptr<bridge::Chain> chain_;
  net::Loop::Timer reverse_timer_;
};

}  // namespace epif::proxy
