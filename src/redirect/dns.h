#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "net/tcp.h"
#include "redirect/datagrams.h"
#include "redirect/dns_message.h"

namespace epif::redirect {

/// One thread's share of the captured DNS. Names of routes get the routes' addresses, so that the redirector can ask the proxy for
/// the name; which address stands for a name is the routes' decision alone, never who asked first. Other questions go on to
/// the resolver that was asked, unchanged; if that is a protected destination and not excluded, they follow its route or are
/// refused. Each question that waits for its answer, and each connection that asks, holds a place; hosts that this node forwards for hold
/// a part of these only. All calls on the loop's thread.
class Dns {
 public:
  using OnConnection = net::Acceptor::OnConnection;
  using OnRefusal = Datagrams::OnRefusal;
  /// `carry` takes connections to a protected resolver, as any other captured connection. The references outlive this.
  Dns(net::Loop& loop, const Settings& settings, Stats& counts, const std::shared_ptr<const Routes>& routes, Datagrams& datagrams,
      OnConnection carry, OnRefusal on_refusal);
  ~Dns();
  Dns(const Dns&) = delete;
  Dns& operator=(const Dns&) = delete;

  /// Takes what comes on these sockets from here on. Inherited ones may hold questions already: they are answered at once.
  void hear(std::vector<Fd> datagram_sockets, std::vector<Fd> listeners);
  void apply(std::shared_ptr<const Routes> routes);
  /// No new questions; those that were asked are answered.
  void stop_hearing();
  void end_all(const Error& reason);
  [[nodiscard]] bool idle() const { return running_ == 0; }

 private:
  /// For a name of ours; empty for others.
  [[nodiscard]] Bytes own_answer(ByteSpan query);
  [[nodiscard]] bool is_protected(const SocketAddress& resolver) const;
  void accepted(Fd connection, SocketAddress client);
  void heard(const net::Received& got);
  /// Error `limit`: no place is left, of this thread, for forwarded hosts or for this one.
  [[nodiscard]] Result<net::Limiter::Place> place_for(const SocketAddress& client, bool of_this_node);
  /// Who begins with a place gives it back at the end.
  void begins(const net::Limiter::Place& place);
  void ends(const net::Limiter::Place& place);
  net::Task<void> pass_on(SocketAddress client, SocketAddress resolver, Bytes query, net::Limiter::Place place);
  net::Task<void> serve(Fd connection, SocketAddress resolver, net::Limiter::Place place);
  net::Task<Result<Bytes>> pass_on_stream(SocketAddress resolver, Bytes query, net::Cancel& cancel);

  net::Loop& loop_;
  const Settings& settings_;
  Stats& counts_;
  Datagrams& datagrams_;
  OnConnection carry_;
  OnRefusal on_refusal_;
  std::map<std::string, std::vector<IpAddress>, std::less<>> names_;
  std::vector<CaptureTarget> protected_;
  std::vector<std::unique_ptr<net::DatagramEar>> ears_;
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  std::set<net::Interest*> waiting_;  ///< for resolvers' datagrams
  std::set<net::Stream*> streams_;    ///< of programs
  std::set<net::Cancel*> reaching_;
  std::size_t running_ = 0;
  std::size_t forwarded_ = 0;  ///< of these, those of hosts that this node forwards for
  bool ended_ = false;
};

}  // namespace epif::redirect
