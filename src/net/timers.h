#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace epif::net {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

/// What shall be done at a time: a heap, in which each timer knows its place. Nearly all are cancelled, by flows that end long before,
/// and most come later than all others; both cost a few steps and no memory of their own. One thread's.
class Timers {
 public:
  using Callback = std::move_only_function<void()>;
  /// Of one timer; once that has ended it means none.
  struct Number {
    std::uint32_t slot = 0;
    std::uint64_t order = 0;  ///< from 1
  };

  [[nodiscard]] Number add(TimePoint when, Callback callback);
  /// Does nothing if it has ended.
  void cancel(Number number);

  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }
  /// The earliest time. There must be one.
  [[nodiscard]] TimePoint first() const { return heap_.front().at; }
  /// Takes out what is to be done then; of several at one time, what was added first.
  [[nodiscard]] Callback take_first();

 private:
  struct Waiting {
    TimePoint at;
    std::uint64_t order;
    std::uint32_t slot;
    [[nodiscard]] bool before(const Waiting& other) const { return at != other.at ? at < other.at : order < other.order; }
  };
  struct Slot {
    Callback callback;
    std::uint64_t order = 0;  ///< 0: free
    std::uint32_t place = 0;  ///< in the heap; of a free one the next free one
  };
  static constexpr std::uint32_t none = 0xffffffff;

  [[nodiscard]] Callback remove(std::uint32_t slot);
  void put(std::size_t place, const Waiting& waiting);
  /// Puts `waiting` where it belongs, from `place`, which is free, towards the first or the last.
  void sift(std::size_t place, const Waiting& waiting);

  std::vector<Waiting> heap_;
  std::vector<Slot> slots_;
  std::uint32_t free_ = none;
  std::uint64_t next_order_ = 1;
};

}  // namespace epif::net
