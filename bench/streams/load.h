#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

/// Many small publishes on long connections to one broker, and one subscriber that sees all of them. Single-threaded; the
/// clock is CLOCK_MONOTONIC, which is the same in every network namespace of a machine.
namespace epif::bench {

struct Wish {
  std::string address;  ///< IPv4 address at which the publishers find the broker
  std::uint16_t port = 0;
  std::string subscriber_netns;    ///< file of the namespace that the subscriber connects from; empty: our own
  std::string subscriber_address;  ///< the broker's own address, past every proxy
  std::uint16_t subscriber_port = 0;
  unsigned connections = 0;
  std::size_t payload_bytes = 0;  ///< at least 8: when it was due, ns
};

/// What a phase was. Latency: from when a message was due to when the subscriber had it, ms.
struct Measured {
  std::uint64_t sent = 0;
  std::uint64_t delivered = 0;  ///< seen by the subscriber, late ones included
  double seconds = 0;           ///< from the first message to the last delivery
  double p50_ms = 0, p95_ms = 0, p99_ms = 0, max_ms = 0;
};

class Load {
 public:
  /// Opens all connections; each has been accepted by the broker when this returns.
  [[nodiscard]] static Result<Load> open(const Wish& wish);
  Load(Load&&) noexcept;
  ~Load();

  /// `per_second` messages in all, evenly spread, whatever comes back: latency at a load that is the same for everybody.
  [[nodiscard]] Result<Measured> paced(double per_second, double seconds);
  /// Each connection keeps `window` messages without their PUBACK: as fast as it goes.
  [[nodiscard]] Result<Measured> window(unsigned window, double seconds);

 private:
  struct State;
  explicit Load(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace epif::bench
