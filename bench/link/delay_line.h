#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>

#include "base/bytes.h"

namespace epif::bench {

using Clock = std::chrono::steady_clock;

/// What one direction of a link does to frames.
struct Character {
  std::chrono::nanoseconds delay{};
  double loss = 0;                  ///< probability that a frame is lost, 0..1
  std::uint64_t bits_per_s = 0;     ///< 0: as fast as it can
  std::size_t queue_frames = 1000;  ///< frames that wait for the rate; what comes on top is lost (tail drop)
};

/// One direction of a link: frames go in with a time and come out in order, each at its own time. Pure: no clock, no I/O.
/// A frame first waits for its turn on the wire (rate), then travels for `delay`.
class DelayLine {
 public:
  DelayLine(Character character, std::uint64_t seed) : character_(character), random_(seed) {}

  /// Takes a frame or loses it.
  void put(Bytes frame, Clock::time_point now);
  /// When the next frame is due; nothing if none is under way.
  [[nodiscard]] std::optional<Clock::time_point> due() const;
  /// The next frame that is due at `now`.
  [[nodiscard]] std::optional<Bytes> take(Clock::time_point now);

  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  struct UnderWay {
    Clock::time_point at;
    Bytes frame;
  };
  Character character_;
  std::mt19937_64 random_;
  std::deque<UnderWay> under_way_;
  Clock::time_point wire_free_{};
  std::uint64_t lost_ = 0;
};

}  // namespace epif::bench
