#pragma once
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "net/pipe_pool.h"
#include "net/timers.h"

namespace epif::net {

class Interest;

/// One thread's event loop over epoll (edge-triggered). All calls are for the loop's own thread, except post() and stop().
/// It outlives every Interest, Timer and coroutine on it.
class Loop {
 public:
  using Callback = std::move_only_function<void()>;

  /// Errors: no_descriptors, io.
  [[nodiscard]] static Result<std::unique_ptr<Loop>> make();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Serves events until stop(). Work posted before the stop is still done.
  void run();
  /// One round: waits at most `timeout` for an event and serves what is there. For tests and for draining at the end.
  void run_once(std::chrono::milliseconds timeout);
  void stop();                   ///< any thread
  void post(Callback callback);  ///< any thread; runs on the loop's thread, in order of posting

  /// Timers that wait now, for metrics.
  [[nodiscard]] std::size_t timers() const { return timers_.size(); }

  /// The time at the start of this round.
  [[nodiscard]] TimePoint now() const { return now_; }

  /// A callback at a time; cancelled by destruction. Move only.
  class Timer {
   public:
    Timer() = default;
    Timer(Timer&& other) noexcept;
    Timer& operator=(Timer&& other) noexcept;
    ~Timer() { cancel(); }
    void cancel();
    [[nodiscard]] bool armed() const { return loop_ != nullptr; }

   private:
    friend class Loop;
    Loop* loop_ = nullptr;
    Timers::Number number_{};
  };
  [[nodiscard]] Timer at(TimePoint when, Callback callback);
  [[nodiscard]] Timer after(std::chrono::milliseconds delay, Callback callback) {
    return at(Clock::now() + delay, std::move(callback));
  }

  /// Resumes `waiter` in this round or the next, never from inside the caller.
  void resume_soon(std::coroutine_handle<> waiter) { ready_.push_back(waiter); }

  /// Runs at the end of this round, or of the next if none is under way: what all of a round's events have left behind can go
  /// out at once.
  void defer(Callback callback) { deferred_.push_back(std::move(callback)); }

  /// co_await loop.sleep(10ms)
  struct Sleep {
    Loop& loop;
    std::chrono::milliseconds delay;
    Timer timer{};
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      timer = loop.after(delay, [waiter] { waiter.resume(); });
    }
    void await_resume() const noexcept {}
  };
  [[nodiscard]] Sleep sleep(std::chrono::milliseconds delay) { return {*this, delay}; }

  /// 64 KiB that any code may fill and must empty before its next co_await: idle connections hold no buffer.
  [[nodiscard]] MutableByteSpan scratch() { return scratch_; }

  [[nodiscard]] PipePool& pipes() { return pipes_; }

 private:
  friend class Interest;
  Loop() = default;
  void add(Interest& interest, int fd, Result<>& outcome);
  void forget(Interest& interest, int fd);
  void serve_ready();
  void serve_timers();
  void serve_posted();
  void serve_deferred();
  [[nodiscard]] int wait_ms(std::chrono::milliseconds cap) const;

  Fd epoll_;
  Fd wake_;
  TimePoint now_ = Clock::now();
  bool stopping_ = false;
  std::vector<std::coroutine_handle<>> ready_;
  std::vector<Callback> deferred_;
  Timers timers_;
  std::mutex posted_mutex_;
  std::vector<Callback> posted_;
  void* batch_ = nullptr;  ///< events being served, so that a destroyed Interest is struck from them
  int batch_size_ = 0;
  Bytes scratch_;
  PipePool pipes_;
};

/// One descriptor's place in a loop: remembers edge-triggered readiness and holds at most one reader and one writer that
/// wait for it. Does not own the descriptor. Not movable: the kernel holds its address.
class Interest {
 public:
  Interest(Loop& loop, int fd);
  ~Interest();
  Interest(const Interest&) = delete;
  Interest& operator=(const Interest&) = delete;

  /// Set when registration failed (too many watches) or fail() was called.
  [[nodiscard]] const Error* error() const { return error_.get(); }
  /// All waits, now and later, end with `error`. The first error stays.
  void fail(Error error);

  /// For streams that have no descriptor (`fd` -1 at the constructor): what the kernel would tell others.
  void news(bool readable, bool writable);
  /// What the kernel tells here is told to `outer` as well, as long as this lives. Nobody waits here any more.
  void forward(Interest& outer) { outer_ = &outer; }

  /// True until an attempt blocked; call blocked_*() after EAGAIN or a short read.
  [[nodiscard]] bool may_read() const { return readable_; }
  [[nodiscard]] bool may_write() const { return writable_; }
  void blocked_read() { readable_ = hung_up_; }
  void blocked_write() { writable_ = false; }
  /// After EAGAIN itself: nothing is there, whatever the last event said.
  void drained_read() { readable_ = false; }

  struct Wait {
    Interest& interest;
    bool for_read;
    std::optional<TimePoint> deadline;
    bool by_write = false;
    bool timed_out = false;
    Loop::Timer timer{};
    [[nodiscard]] bool await_ready() const noexcept;
    void await_suspend(std::coroutine_handle<> waiter);
    [[nodiscard]] Result<> await_resume();
  };
  /// co_await: an error if failed, Code::timeout past the deadline (the Interest stays usable), else readiness.
  [[nodiscard]] Wait readable(std::optional<TimePoint> deadline = {}) { return {*this, true, deadline}; }
  [[nodiscard]] Wait writable(std::optional<TimePoint> deadline = {}) { return {*this, false, deadline}; }

  /// The reader that waits resumes as if there were something to read: what it waits for besides has happened.
  void nudge_reader() {
    if (reader_) wake(reader_);
  }

  /// The reader waits until the socket takes bytes (TLS owes the peer an answer before it can read on).
  [[nodiscard]] Wait readable_by_write(std::optional<TimePoint> deadline = {}) { return {*this, true, deadline, true}; }

  /// The same without deadline and without outcome, for coroutines that live long: whoever awaits it tries again, and meets
  /// the error there.
  struct Ready {
    Interest& interest;
    bool for_read;
    bool by_write = false;
    [[nodiscard]] bool await_ready() const noexcept {
      return interest.error_ != nullptr || (for_read && !by_write ? interest.readable_ : interest.writable_);
    }
    void await_suspend(std::coroutine_handle<> waiter) noexcept;
    void await_resume() const noexcept {}
  };
  [[nodiscard]] Ready until_readable(bool by_write) { return {*this, true, by_write}; }
  [[nodiscard]] Ready until_writable() { return {*this, false}; }

  [[nodiscard]] Loop& loop() const { return loop_; }

 private:
  friend class Loop;
  void deliver(std::uint32_t events);
  void wake_both();
  void wake(std::coroutine_handle<>& slot);

  Loop& loop_;
  int fd_;
  bool readable_ = true;
  bool writable_ = true;
  bool hung_up_ = false;
  bool reader_by_write_ = false;
  std::coroutine_handle<> reader_;
  std::coroutine_handle<> writer_;
  std::unique_ptr<Error> error_;
  Interest* outer_ = nullptr;
};

}  // namespace epif::net
