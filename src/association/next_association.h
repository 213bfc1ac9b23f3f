#pragma once
#include <functional>
#include <memory>

#include "association/stream_queue.h"
#include "onward/next_hop.h"
#include "socks/socks6_udp.h"

namespace epif::association {

/// The UDP association that an association here keeps with a next proxy, for one route: SOCKS6 inside of one TLS or TCP
/// connection, since what was protected on its way here must stay so. On one loop; lives as long as its own work or its owner.
class NextAssociation : public std::enable_shared_from_this<NextAssociation> {
 public:
  /// Called until close(). Views end with the call.
  struct Listener {
    std::function<void(const socks::Target& source, ByteSpan payload)> datagram;
    std::function<void(const socks6::UdpMessage& error)> error;
    std::function<void()> batch;             ///< after each group of the two above
    std::function<void(const Error& why)> ended;  ///< last
  };
  /// `place` among all that lead to next proxies; kept as long as the connection.
  NextAssociation(Listener listener, net::Limiter::Place place) : listener_(std::move(listener)), queued_(std::move(place)) {}

  /// Begins to connect. `request` is for UDP ASSOCIATE; `pool` leads to the next proxy.
  void start(net::WarmPool& pool, onward::NextRequest request);
  /// False if there is no room. Until the next proxy has agreed, a bounded amount waits.
  [[nodiscard]] bool send(const socks::Target& target, ByteSpan payload);
  void flush();
  void close();
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] std::size_t queued_bytes() const { return queued_.bytes(); }

 private:
  /// Carries a cut to a connection that is being made.
  struct Making final : onward::Attempt {
    net::Stream* stream = nullptr;
    std::optional<Error> cut_reason{};
    void cut(const Error& why) {
      cut_reason = why;
      if (stream != nullptr) stream->abort(why);
    }
    [[nodiscard]] Result<> still_granted() const override { return cut_reason ? fail(*cut_reason) : Result<>{}; }
    void waits_for(net::Stream* one) override { stream = one; }
  };
  static net::Task<void> run(std::shared_ptr<NextAssociation> self, net::WarmPool& pool, onward::NextRequest request);
  static net::Task<void> read(NextAssociation& self, Bytes received);
  [[nodiscard]] Result<> take(const socks6::UdpMessage& message);
  void send_waiting();
  void forget_waiting();
  void finish(const Error& why);

  Listener listener_;
  Making making_{};
  QueuedBytes queued_;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<StreamQueue> queue_;
  std::optional<std::uint64_t> number_;
  std::vector<std::pair<Destination, Bytes>> waiting_;
  std::size_t waiting_bytes_ = 0;
  Result<> outcome_{};
  bool closed_ = false;
  bool ended_ = false;
};

}  // namespace epif::association
