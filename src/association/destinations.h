#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "association/queued_bytes.h"
#include "base/ip.h"
#include "model/routing.h"
#include "net/loop.h"
#include "socks/target.h"

/// Where the datagrams of one association may go: pure, asked for each datagram. A destination is decided once and remembered,
/// granted or not, until the routes change.
namespace epif::association {

class Destinations {
 public:
  struct Entry {
    Destination asked;                      ///< as the client wrote it
    RoutePtr route;
    std::optional<SocketAddress> at{};      ///< the host itself; never set where the route has a next proxy
    net::TimePoint resolved{};              ///< when `at` was found
    net::TimePoint used{};
    bool resolving = false;
    std::uint64_t to_server_bytes = 0;
    std::uint64_t to_client_bytes = 0;
    std::vector<std::pair<net::TimePoint, Bytes>> waiting{};  ///< datagrams for a name that is being resolved
  };

  /// The decision, by the route table.
  using Decide = std::function<Result<RoutePtr>(const Destination&)>;
  /// Told of each entry that is given up, to take over its counts.
  using OnGone = std::function<void(const Entry&)>;
  /// `queued` counts what waits; outlives this.
  Destinations(Decide decide, OnGone on_gone, QueuedBytes& queued)
      : decide_(std::move(decide)), on_gone_(std::move(on_gone)), queued_(queued) {}
  ~Destinations() { clear(); }
  Destinations(const Destinations&) = delete;
  Destinations& operator=(const Destinations&) = delete;

  struct Admission {
    Entry* entry = nullptr;      ///< null: refused
    std::optional<Error> news{}; ///< why, the first time only; limit: for want of room
    bool is_new = false;
    bool for_limit = false;
  };
  [[nodiscard]] Admission admit(const socks::Target& target, net::TimePoint now, std::chrono::sys_seconds wall);

  /// The destination that a datagram from `remote` answers; null if the client has not written there, or may no more.
  [[nodiscard]] Entry* answered_by(const SocketAddress& remote, std::chrono::sys_seconds wall);
  /// The destination on this route that the client calls `source`, or another one of it; null if none is in use. For what a
  /// next proxy sends: it resolves names by itself.
  [[nodiscard]] Entry* answered_on(std::string_view route_id, const socks::Target& source, std::chrono::sys_seconds wall);

  /// From now on datagrams from `at` belong to `entry`; once it is gone or has moved, to another one that has this address.
  void set_address(Entry& entry, const SocketAddress& at, net::TimePoint now);

  /// Holds a datagram for an entry that is being resolved. False if too much waits already.
  [[nodiscard]] bool hold(Entry& entry, ByteSpan payload, net::TimePoint now);
  [[nodiscard]] std::vector<std::pair<net::TimePoint, Bytes>> take_waiting(Entry& entry);

  /// The routes have changed: every entry gets its successor or goes; refusals are forgotten. Returns what was lost.
  std::vector<Destination> adopt(const std::function<RoutePtr(const Entry&)>& successor);
  /// True if an entry has this route.
  [[nodiscard]] bool uses(std::string_view route_id) const;
  void clear();
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  void each(const std::function<void(const Entry&)>& visit) const;

 private:
  using Key = std::pair<std::variant<IpAddress, std::string>, std::uint16_t>;
  using Entries = std::map<Key, Entry>;
  static Key key_of(const socks::Target& target);
  [[nodiscard]] bool make_room(net::TimePoint now);
  Entries::iterator erase(Entries::iterator at);
  [[nodiscard]] Admission refused(Key key, Error why);
  /// What comes from the entry's address belongs to another entry of the same one from now on, or to none.
  void leave_address(Entry& entry);

  Decide decide_;
  OnGone on_gone_;
  QueuedBytes& queued_;
  Entries entries_;
  std::map<SocketAddress, Entry*> by_address_;  ///< of several entries of one address the one that was set last
  std::set<Key> denied_;
  std::size_t waiting_bytes_ = 0;
};

}  // namespace epif::association
