#include "association/queued_bytes.h"

#include <cassert>

namespace epif::association {
namespace {

constexpr std::size_t step = limits::udp_queued_step_bytes;

constexpr std::size_t in_steps(std::size_t bytes) { return (bytes + step - 1) / step * step; }

}  // namespace

bool QueuedBytes::take(std::size_t bytes) {
  const auto wanted = in_steps(used_ + bytes);
  if (wanted > held_) {
    if (!place_.hold(wanted)) return false;
    held_ = wanted;
  }
  used_ += bytes;
  return true;
}

void QueuedBytes::give(std::size_t bytes) {
  assert(bytes <= used_);
  used_ -= bytes;
  const auto wanted = in_steps(used_);
  // A step stays in hand for what comes next, unless nothing waits any more.
  if (wanted == held_ || (used_ != 0 && wanted + step >= held_)) return;
  static_cast<void>(place_.hold(wanted));  // less is never refused
  held_ = wanted;
}

}  // namespace epif::association
