#pragma once
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "net/datagram_ear.h"
#include "redirect/association.h"
#include "redirect/reply_sockets.h"
#include "redirect/stats.h"

namespace epif::redirect {

/// One thread's share of the captured datagrams: the sockets that tproxy delivers them to, and their associations, one for each
/// socket of a program and route. All calls on the loop's thread.
class Datagrams {
 public:
  using Pool = std::function<net::WarmPool&(const NextHop&)>;
  using OnRefusal = std::function<void(const SocketAddress& client, const SocketAddress& destination, const Error& why, bool of_this_node)>;
  /// `counts`: its datagram fields are kept up to date. The references outlive this.
  Datagrams(net::Loop& loop, const Settings& settings, Stats& counts, std::shared_ptr<const Routes> routes, Pool pool, OnRefusal on_refusal);
  ~Datagrams();
  Datagrams(const Datagrams&) = delete;
  Datagrams& operator=(const Datagrams&) = delete;

  /// Takes what comes on these sockets from here on. Inherited ones may hold datagrams already: they are taken at once.
  void hear(std::vector<Fd> sockets);
  /// Associations whose permit is gone or changed end.
  void apply(std::shared_ptr<const Routes> routes);
  /// A datagram of `client`, however it was captured.
  void take(const net::Received& datagram);
  /// To the program, in the name of `from`.
  void answer(const SocketAddress& from, const SocketAddress& client, ByteSpan payload);
  /// No new datagrams of programs; answers to those that were carried still come.
  void stop_hearing() { ears_.clear(); }
  void end_all(const Error& reason);
  /// No association's coroutine is left.
  [[nodiscard]] bool idle() const { return associations_.empty(); }
  void report(Stats& stats, bool with_flows) const;

 private:
  /// Client, flow id, the route's destination, and whose program it is where the route selects.
  using Key = std::tuple<SocketAddress, std::string, std::string, std::string>;
  using Pair = std::pair<SocketAddress, SocketAddress>;             ///< client, destination
  net::Task<void> serve(Key key, Association* association);
  /// Error `limit`: one association too many, of this thread, of all that are forwarded or of its source.
  [[nodiscard]] Result<net::Limiter::Place> place_for(const SocketAddress& client, bool of_this_node);
  void refuse(const Pair& between, const Error& why, bool of_this_node);
  /// Why this pair was refused, as long as that holds without another look.
  [[nodiscard]] std::optional<Code> refused_lately(const Pair& between);
  struct Permit {
    const Route* route = nullptr;
    std::optional<Program> owner;  ///< if the route selects
  };
  [[nodiscard]] Result<Permit> route_for(const Pair& between, bool of_this_node) const;
  /// What came back for the association goes to its program; if another has the port by now, the association ends.
  void deliver(const Key& key, const SocketAddress& from, ByteSpan payload);

  net::Loop& loop_;
  const Settings& settings_;
  Stats& counts_;
  std::shared_ptr<const Routes> routes_;
  Pool pool_;
  OnRefusal on_refusal_;
  std::vector<std::unique_ptr<net::DatagramEar>> ears_;
  std::map<Key, Association*> associations_;
  std::size_t forwarded_ = 0;  ///< of these, those of hosts that this node forwards for
  struct Refusal {
    Code why;
    net::TimePoint until;  ///< datagrams are dropped without another look
  };
  std::map<Pair, Refusal> refused_;
  ReplySockets replies_;
};

}  // namespace epif::redirect
