#pragma once
#include <signal.h>

#include <ctime>
#include <stop_token>
#include <thread>

namespace epif::app {

/// SIGINT or SIGTERM asks `token()` to stop. Make it before any other thread starts: all threads inherit the blocked signals.
/// A second signal ends the process at once, for a stop that hangs.
class StopSignal {
 public:
  StopSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::jthread([this](const std::stop_token& end) { listen(end); });
  }
  [[nodiscard]] std::stop_token token() const { return source_.get_token(); }

 private:
  void listen(const std::stop_token& end) {
    const timespec pause{0, 200'000'000};
    while (!end.stop_requested()) {
      if (sigtimedwait(&signals_, nullptr, &pause) < 0) continue;
      if (!source_.request_stop()) ::_Exit(1);
    }
  }

  sigset_t signals_{};
  std::stop_source source_;
  std::jthread thread_;
};

}  // namespace epif::app
