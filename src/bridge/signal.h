#pragma once
#include <coroutine>
#include <utility>

#include "net/loop.h"

namespace epif::bridge {

/// Wakes one waiting coroutine of a loop when something changed. The waiter looks again at what it waits for:
/// `while (!there && loop.now() < deadline) co_await signal.until(deadline);`
class Signal {
 public:
  explicit Signal(net::Loop& loop) : loop_(loop) {}
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  void raise() {
    timer_.cancel();
    if (waiter_) loop_.resume_soon(std::exchange(waiter_, {}));
  }

  struct Wait {
    Signal& signal;
    net::TimePoint deadline;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      signal.waiter_ = waiter;
      signal.timer_ = signal.loop_.at(deadline, [this_signal = &signal] { this_signal->raise(); });
    }
    void await_resume() const noexcept {}
  };
  [[nodiscard]] Wait until(net::TimePoint deadline) { return {*this, deadline}; }

 private:
  net::Loop& loop_;
  std::coroutine_handle<> waiter_;
  net::Loop::Timer timer_;
};

}  // namespace epif::bridge
