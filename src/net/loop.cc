#include "net/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cassert>
#include <cerrno>

#include "base/limits.h"

namespace epif::net {
namespace {

constexpr int batch_max = 256;

}  // namespace

Result<std::unique_ptr<Loop>> Loop::make() {
  std::unique_ptr<Loop> loop(new Loop);
  loop->epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_) return fail(system_error(errno, "cannot make an event loop"));
  loop->wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->wake_) return fail(system_error(errno, "cannot make an event loop"));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;  // the wake-up descriptor is the one event without an Interest
  if (::epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), &event) != 0) {
    return fail(system_error(errno, "cannot make an event loop"));
  }
  loop->scratch_.resize(limits::relay_buffer_bytes);
  return loop;
}

Loop::~Loop() {
  // Coroutines that were told to end (a closed listener, an aborted stream) get their turn, so that their frames are freed.
  while (!ready_.empty() || !deferred_.empty()) {
    serve_ready();
    serve_deferred();
  }
}

void Loop::run() {
  stopping_ = false;
  while (!stopping_) run_once(std::chrono::hours(1));
}

int Loop::wait_ms(std::chrono::milliseconds cap) const {
  if (!ready_.empty() || !deferred_.empty()) return 0;
  auto wait = cap;
  if (!timers_.empty()) {
    const auto until = timers_.first() - Clock::now();
    // Rounded up: waking before the time would spin.
    wait = std::min(wait, std::chrono::ceil<std::chrono::milliseconds>(until));
  }
  return static_cast<int>(std::clamp<long long>(wait.count(), 0, 3'600'000));
}

void Loop::run_once(std::chrono::milliseconds timeout) {
  std::array<epoll_event, batch_max> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), batch_max, wait_ms(timeout));
  assert(count >= 0 || errno == EINTR);
  now_ = Clock::now();
  batch_ = events.data();
  batch_size_ = std::max(count, 0);
  bool posted = false;
  for (int i = 0; i < batch_size_; ++i) {
    auto* interest = static_cast<Interest*>(events[static_cast<std::size_t>(i)].data.ptr);
    if (interest != nullptr) {
      interest->deliver(events[static_cast<std::size_t>(i)].events);
    } else if (events[static_cast<std::size_t>(i)].events != 0) {
      posted = true;
    }
  }
  batch_ = nullptr;
  if (posted) serve_posted();
  serve_timers();
  serve_ready();
  serve_deferred();
}

void Loop::serve_posted() {
  std::uint64_t count = 0;
  while (::read(wake_.get(), &count, sizeof count) > 0) {
  }
  std::vector<Callback> work;
  {
    const std::lock_guard lock(posted_mutex_);
    work.swap(posted_);
  }
  for (auto& callback : work) callback();
}

void Loop::serve_timers() {
  while (!timers_.empty() && timers_.first() <= now_) timers_.take_first()();
}

void Loop::serve_ready() {
  // Only what is ready now: a coroutine that makes itself ready again must not starve the sockets.
  std::vector<std::coroutine_handle<>> now_ready;
  now_ready.swap(ready_);
  for (const auto handle : now_ready) handle.resume();
}

void Loop::serve_deferred() {
  std::vector<Callback> work;
  work.swap(deferred_);
  for (auto& callback : work) callback();
}

void Loop::stop() {
  post([this] { stopping_ = true; });
}

void Loop::post(Callback callback) {
  {
    const std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(callback));
  }
  const std::uint64_t one = 1;
  // A full counter means that a wake-up is pending already.
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
}

Loop::Timer::Timer(Timer&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)), number_(other.number_) {}

Loop::Timer& Loop::Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    cancel();
    loop_ = std::exchange(other.loop_, nullptr);
    number_ = other.number_;
  }
  return *this;
}

void Loop::Timer::cancel() {
  if (loop_ != nullptr) loop_->timers_.cancel(number_);
  loop_ = nullptr;
}

Loop::Timer Loop::at(TimePoint when, Callback callback) {
  Timer timer;
  timer.loop_ = this;
  timer.number_ = timers_.add(when, std::move(callback));
  return timer;
}

void Loop::add(Interest& interest, int fd, Result<>& outcome) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.ptr = &interest;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) outcome = fail(system_error(errno, "cannot watch a descriptor"));
}

void Loop::forget(Interest& interest, int fd) {
  // A copy of the descriptor elsewhere (a BF, another process) would keep a dead registration alive: remove it by hand.
  if (fd >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  auto* events = static_cast<epoll_event*>(batch_);
  for (int i = 0; events != nullptr && i < batch_size_; ++i) {
    if (events[i].data.ptr == &interest) {
      events[i].data.ptr = nullptr;
      events[i].events = 0;
    }
  }
  std::erase_if(ready_, [&](auto handle) { return handle == interest.reader_ || handle == interest.writer_; });
}

Interest::Interest(Loop& loop, int fd) : loop_(loop), fd_(fd) {
  if (fd < 0) return;
  Result<> outcome;
  loop_.add(*this, fd, outcome);
  if (!outcome) error_ = std::make_unique<Error>(outcome.error());
}

Interest::~Interest() { loop_.forget(*this, fd_); }

void Interest::deliver(std::uint32_t events) {
  // The waiter may destroy this Interest: note both waiters first, and touch nothing after the last resume.
  const bool over = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  // At a byte marked urgent a read ends short, too, and more may stand behind it.
  if (over || (events & EPOLLPRI) != 0) hung_up_ = true;
  if (over || (events & EPOLLIN) != 0) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  if (outer_ != nullptr) {
    outer_->news(readable_, writable_);
    return;
  }
  wake_both();
}

void Interest::news(bool readable, bool writable) {
  readable_ = readable_ || readable;
  writable_ = writable_ || writable;
  wake_both();
}

void Interest::wake_both() {
  if (writer_ && writable_) wake(writer_);
  if (reader_ && (reader_by_write_ ? writable_ : readable_)) {
    const auto waiter = std::exchange(reader_, {});
    waiter.resume();
  }
}

void Interest::wake(std::coroutine_handle<>& slot) { loop_.resume_soon(std::exchange(slot, {})); }

void Interest::fail(Error error) {
  if (!error_) error_ = std::make_unique<Error>(std::move(error));
  if (reader_) wake(reader_);
  if (writer_) wake(writer_);
  // Nobody waits any more, and the descriptor may stay open for long, here or in another process: its news would wake the loop for nothing.
  if (const int fd = std::exchange(fd_, -1); fd >= 0) ::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

bool Interest::Wait::await_ready() const noexcept {
  return interest.error_ != nullptr || (for_read && !by_write ? interest.readable_ : interest.writable_);
}

void Interest::Wait::await_suspend(std::coroutine_handle<> waiter) {
  auto& slot = for_read ? interest.reader_ : interest.writer_;
  assert(!slot && "one reader and one writer may wait at a time");
  slot = waiter;
  if (for_read) interest.reader_by_write_ = by_write;
  if (deadline) {
    timer = interest.loop_.at(*deadline, [this] {
      auto& mine = for_read ? interest.reader_ : interest.writer_;
      if (!mine) return;
      timed_out = true;
      interest.wake(mine);
    });
  }
}

void Interest::Ready::await_suspend(std::coroutine_handle<> waiter) noexcept {
  auto& slot = for_read ? interest.reader_ : interest.writer_;
  assert(!slot && "one reader and one writer may wait at a time");
  slot = waiter;
  if (for_read) interest.reader_by_write_ = by_write;
}

Result<> Interest::Wait::await_resume() {
  timer.cancel();
  if (interest.error_) return epif::fail(*interest.error_);
  if (timed_out) return epif::fail(Code::timeout, "no answer in time");
  return {};
}

}  // namespace epif::net
