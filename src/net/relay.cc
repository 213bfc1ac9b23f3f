#include "net/relay.h"

#include "net/pump.h"

namespace epif::net {

Task<Result<>> pump(Stream& from, Stream& to, ByteSpan early, Carried& carried, PumpGate* gate, Bytes* held_in) {
  Pump direction(from, to, early, carried, gate, held_in);
  co_await direction.run();
  if (const auto* error = direction.error()) co_return fail(*error);
  co_return Result<>{};
}

namespace {

/// A relay while it runs: both directions, what ended it, and who waits for that.
struct Flow {
  Pump a;
  Pump b;
  Carried& from_a;
  Carried& from_b;
  RelayTimes times;
  std::unique_ptr<Error> error{};
  Loop::Timer timer{};
  int running = 2;
  std::coroutine_handle<> waiter{};

  void abort(const Error& why) {
    if (!error) error = std::make_unique<Error>(why);
    a.from().abort(*error);
    b.from().abort(*error);
  }

  /// Looks again exactly when the flow could first be overdue, so that an idle flow costs one timer.
  void watch() {
    const bool half = from_a.ended || from_b.ended;
    const auto allowed = std::chrono::seconds(half ? times.half_closed_s : times.idle_s);
    const auto due = std::max(from_a.last, from_b.last) + allowed;
    auto& loop = a.from().loop();
    if (loop.now() >= due) {
      abort({Code::timeout, half ? "one side ended and the other stayed silent" : "the flow was idle too long"});
      return;
    }
    timer = loop.at(due, [this] { watch(); });
  }

  void settle(const Pump& direction) {
    if (direction.error() == nullptr) {
      watch();
      return;
    }
    // The receiver is gone, but may have sent bytes before it went: the other direction reads them and then meets the same
    // error (or an end). A broken source, a refusal of the gate or a cut ends both directions now.
    if (direction.error()->code == Code::reset && !direction.from().has_failed()) {
      if (!error) error = std::make_unique<Error>(*direction.error());
      return;
    }
    abort(*direction.error());
  }

  /// The loop of Pump::run() stands here once more, so that it needs no frame of its own in each idle connection.
  static detail::Detached direction(Flow& flow, Pump& pump) {
    for (;;) {
      const auto next = pump.step();
      if (next == Pump::Next::readable) {
        co_await pump.from().until_readable();
      } else if (next == Pump::Next::writable) {
        co_await pump.to().until_writable();
      } else {
        if (next == Pump::Next::end && !pump.end_at_once()) co_await pump.pass_end();
        break;
      }
    }
    flow.settle(pump);
    if (--flow.running == 0 && flow.waiter) flow.waiter.resume();
  }

  [[nodiscard]] bool await_ready() const noexcept { return running == 0; }
  void await_suspend(std::coroutine_handle<> handle) noexcept { waiter = handle; }
  void await_resume() const noexcept {}
};

}  // namespace

Task<Result<>> relay(RelaySide a, RelaySide b, Carried& from_a, Carried& from_b, RelayTimes times) {
  Flow flow{{a.stream, b.stream, a.early, from_a, a.gate, a.held_in}, {b.stream, a.stream, b.early, from_b, b.gate, b.held_in},
            from_a, from_b, times};
  flow.watch();
  Flow::direction(flow, flow.a);
  Flow::direction(flow, flow.b);
  co_await flow;
  flow.timer.cancel();
  if (!flow.error) co_return Result<>{};
  flow.abort(*flow.error);
  co_return fail(*flow.error);
}

}  // namespace epif::net
