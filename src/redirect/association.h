#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "bridge/signal.h"
#include "net/cancel.h"
#include "net/udp.h"
#include "net/warm_pool.h"
#include "redirect/routes.h"
#include "redirect/settings.h"

namespace epif::redirect {

/// The datagrams of one socket of a program that follow one route: over a SOCKS6 stream, a SOCKS5 relay, or directly. Begins
/// with the first datagram, ends after an idle time, an error, or end_with(). On one loop.
class Association {
 public:
  struct Datagram {
    SocketAddress remote;  ///< sent: destination; received: source, as the program knows it
    Bytes payload;
  };
  struct Counts {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
  };
  struct Client {
    SocketAddress address;
    bool of_this_node = false;  ///< not a host that this node forwards for
    std::optional<Program> owner{};  ///< who asked, where the route selects; answers are for nobody else
    net::Limiter::Place place{};     ///< among those of its source, if it is such a host
  };
  /// Gets what comes back; the bytes live for the call.
  using OnDatagram = std::function<void(const SocketAddress& from, ByteSpan payload)>;

  /// `pool`: of the route's proxy, null for a direct route. Both references outlive this.
  Association(net::Loop& loop, const Settings& settings, Client client, std::shared_ptr<const Routes> routes, const Route* route,
              net::WarmPool* pool, OnDatagram on_datagram);
  Association(const Association&) = delete;
  Association& operator=(const Association&) = delete;

  /// Carries until the end; an orderly one gives no error. Called once.
  [[nodiscard]] net::Task<Result<>> run();
  /// False if too many wait: the datagram is dropped.
  [[nodiscard]] bool send(const SocketAddress& to, ByteSpan payload);
  /// Ends it now; run() gives the reason.
  void end_with(const Error& reason);
  /// Ends it in order: nobody waits for answers any more.
  void end() { over({}); }
  /// The route was renewed without a change.
  void renew(std::shared_ptr<const Routes> routes, const Route* route);

  [[nodiscard]] const SocketAddress& client() const { return client_.address; }
  [[nodiscard]] bool of_this_node() const { return client_.of_this_node; }
  [[nodiscard]] const std::optional<Program>& owner() const { return client_.owner; }
  [[nodiscard]] const Route& route() const { return *route_; }
  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] net::TimePoint since() const { return since_; }
  /// The latest destination, for people.
  [[nodiscard]] const SocketAddress& destination() const { return destination_; }

 private:
  [[nodiscard]] net::Task<Result<>> over_stream();
  [[nodiscard]] net::Task<Result<>> over_relay();
  [[nodiscard]] net::Task<Result<>> directly();
  [[nodiscard]] net::Task<Result<>> over_packets(std::optional<SocketAddress> relay, SocketAddress near);
  net::Task<void> stream_sender(net::Stream& stream);
  net::Task<void> stream_receiver(net::Stream& stream, Bytes received);
  net::Task<void> packet_sender(int fd, std::optional<SocketAddress> relay);
  net::Task<void> packet_receiver(int fd, net::Interest& interest, std::optional<SocketAddress> relay);
  net::Task<void> watch_control(net::Stream& control);
  /// Waits until a datagram is there; false at the end.
  [[nodiscard]] net::Task<bool> next();
  [[nodiscard]] Destination asked_for(const SocketAddress& to) const;
  void arrived(const std::variant<IpAddress, std::string_view>& host, std::uint16_t port, ByteSpan payload);
  void sent(std::size_t bytes);
  void over(Result<> outcome);

  net::Loop& loop_;
  const Settings& settings_;
  Client client_;
  std::shared_ptr<const Routes> routes_;
  const Route* route_;
  net::WarmPool* pool_;
  OnDatagram on_datagram_;
  std::deque<Datagram> waiting_;
  std::size_t waiting_bytes_ = 0;
  bridge::Signal news_;
  net::Cancel reaching_;
  net::Stream* stream_ = nullptr;
  net::Interest* packets_ = nullptr;
  std::uint64_t number_ = 0;   ///< of the SOCKS6 association, chosen by the proxy
  bool numbered_ = false;
  net::Loop::Timer closing_;
  std::optional<Result<>> outcome_;  ///< set when it ends
  SocketAddress destination_;
  net::TimePoint last_;
  net::TimePoint since_;
  Counts counts_;
};

}  // namespace epif::redirect
