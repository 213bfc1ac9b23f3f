#include "net/timers.h"

#include <cassert>
#include <utility>

namespace epif::net {

Timers::Number Timers::add(TimePoint when, Callback callback) {
  auto slot = free_;
  if (slot == none) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    free_ = slots_[slot].place;
  }
  const auto order = next_order_++;
  slots_[slot].callback = std::move(callback);
  slots_[slot].order = order;
  heap_.emplace_back();
  sift(heap_.size() - 1, {when, order, slot});
  return {slot, order};
}

void Timers::cancel(Number number) {
  if (number.order == 0 || number.slot >= slots_.size() || slots_[number.slot].order != number.order) return;
  // What the callback holds may end other timers: it goes last, when all is in order here.
  const auto ended = remove(number.slot);
}

Timers::Callback Timers::take_first() {
  assert(!heap_.empty());
  return remove(heap_.front().slot);
}

Timers::Callback Timers::remove(std::uint32_t slot) {
  const auto place = slots_[slot].place;
  auto callback = std::exchange(slots_[slot].callback, nullptr);
  slots_[slot].order = 0;
  slots_[slot].place = std::exchange(free_, slot);
  const auto last = heap_.back();
  heap_.pop_back();
  if (place < heap_.size()) sift(place, last);
  return callback;
}

void Timers::put(std::size_t place, const Waiting& waiting) {
  heap_[place] = waiting;
  slots_[waiting.slot].place = static_cast<std::uint32_t>(place);
}

void Timers::sift(std::size_t place, const Waiting& waiting) {
  while (place > 0) {
    const auto above = (place - 1) / 2;
    if (!waiting.before(heap_[above])) break;
    put(place, heap_[above]);
    place = above;
  }
  for (;;) {
    auto below = 2 * place + 1;
    if (below + 1 < heap_.size() && heap_[below + 1].before(heap_[below])) ++below;
    if (below >= heap_.size() || !heap_[below].before(waiting)) break;
    put(place, heap_[below]);
    place = below;
  }
  put(place, waiting);
}

}  // namespace epif::net
