#pragma once
#include "net/limiter.h"

namespace epif::association {

/// What datagrams of one owner that wait hold, counted with those of all others where the owner has its place. Counted in steps
/// of limits::udp_queued_step_bytes, so that not every datagram asks. On one loop.
class QueuedBytes {
 public:
  /// Without a place nothing is limited.
  QueuedBytes() = default;
  explicit QueuedBytes(net::Limiter::Place place) : place_(std::move(place)) {}
  void count_at(net::Limiter::Place place) { place_ = std::move(place); }

  /// False if all owners, or those of this source, hold too much already; then nothing is taken.
  [[nodiscard]] bool take(std::size_t bytes);
  /// At most what was taken.
  void give(std::size_t bytes);
  [[nodiscard]] std::size_t bytes() const { return used_; }

 private:
  net::Limiter::Place place_;
  std::size_t used_ = 0;
  std::size_t held_ = 0;  ///< at place_: whole steps
};

}  // namespace epif::association
