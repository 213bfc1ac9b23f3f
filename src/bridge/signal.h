#pragma once
#include <algorithm>
#include <coroutine>
#include <utility>
#include <vector>

#include "net/loop.h"

namespace epif::bridge {

/// Wakes the coroutines of one loop that wait for a change. A waiter looks again at what it waits for:
/// `while (!there && net::Clock::now() < deadline) co_await signal.until(deadline);`
class Signal {
 public:
  explicit Signal(net::Loop& loop) : loop_(loop) {}
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  struct Wait {
    Signal& signal;
    net::TimePoint deadline;
    std::coroutine_handle<> waiter{};
    net::Loop::Timer timer{};
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      waiter = handle;
      signal.waits_.push_back(this);
      timer = signal.loop_.at(deadline, [this] { signal.end(*this); });
    }
    void await_resume() const noexcept {}
  };
  [[nodiscard]] Wait until(net::TimePoint deadline) { return {*this, deadline}; }

  void raise() {
    for (auto* wait : std::exchange(waits_, {})) {
      wait->timer.cancel();
      loop_.resume_soon(wait->waiter);
    }
  }

 private:
  void end(Wait& wait) {
    std::erase(waits_, &wait);
    loop_.resume_soon(wait.waiter);
  }
  net::Loop& loop_;
  std::vector<Wait*> waits_;
};

}  // namespace epif::bridge
