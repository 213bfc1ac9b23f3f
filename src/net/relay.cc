#include "net/relay.h"

#include <cassert>

namespace epif::net {
namespace {

/// Fills the scratch buffer as far as the stream gives without waiting, so that the last data and the end are seen together.
struct Filled {
  std::size_t bytes = 0;
  bool ended = false;
  bool failed = false;
};

Filled fill(Stream& from, MutableByteSpan buffer) {
  Filled filled;
  while (filled.bytes < buffer.size()) {
    const Io io = from.read_some(buffer.subspan(filled.bytes));
    if (io.state == Io::State::moved) {
      filled.bytes += io.bytes;
      if (!from.may_read()) break;
      continue;
    }
    filled.ended = io.state == Io::State::end;
    filled.failed = io.state == Io::State::failed;
    break;
  }
  return filled;
}

/// Passes on what `fill` got. What the peer does not take at once is copied out of the shared scratch buffer, since a
/// coroutine that waits must not hold it.
Task<Result<>> pass_rest(Stream& to, Bytes rest, bool last) {
  ByteSpan left = rest;
  while (!left.empty()) {
    auto ready = co_await to.writable();
    if (!ready) co_return fail(std::move(ready.error()));
    const Io io = to.write_some(left, last);
    if (io.state == Io::State::failed) co_return fail(Code::reset, "the receiver broke the connection");
    if (io.state == Io::State::moved) left = left.subspan(io.bytes);
  }
  co_return Result<>{};
}

/// Writes without waiting; returns how much the peer took, or nothing if it is gone.
std::optional<std::size_t> write_now(Stream& to, ByteSpan bytes, bool last) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const Io io = to.write_some(bytes.subspan(written), last);
    if (io.state == Io::State::failed) return std::nullopt;
    if (io.state == Io::State::would_block) break;
    written += io.bytes;
  }
  return written;
}

Task<Result<>> pass_end(Stream& to, Carried& carried, PumpGate* gate) {
  if (gate != nullptr) {
    auto allowed = co_await gate->before_end(carried);
    if (!allowed) co_return fail(std::move(allowed.error()));
  }
  auto ended = co_await end_write(to);
  if (ended) carried.ended = true;
  co_return ended;
}

Result<> ask(PumpGate* gate, const Carried& carried, std::size_t more) {
  return gate == nullptr ? Result<>{} : gate->before_bytes(carried, more);
}

}  // namespace

Task<Result<>> pump(Stream& from, Stream& to, ByteSpan early, Carried& carried, PumpGate* gate, Bytes* held_in) {
  carried.last = from.loop().now();
  if (!early.empty()) {
    auto allowed = ask(gate, carried, early.size());
    if (!allowed) co_return allowed;
    auto written = co_await write_all(to, early);
    if (!written) co_return written;
    carried.bytes += early.size();
  }
  if (held_in != nullptr) Bytes().swap(*held_in);
  for (;;) {
    if (!from.may_read()) {
      auto ready = co_await from.readable();
      if (!ready) co_return ready;
    }
    const auto scratch = from.loop().scratch();
    const Filled filled = fill(from, scratch);
    if (filled.bytes > 0) {
      auto allowed = ask(gate, carried, filled.bytes);
      if (!allowed) co_return allowed;
      // With a gate the end may yet be refused: no byte may wait for a FIN that does not come.
      const bool last = filled.ended && gate == nullptr;
      const auto bytes = ByteSpan(scratch).first(filled.bytes);
      const auto written = write_now(to, bytes, last);
      if (!written) co_return fail(Code::reset, "the receiver broke the connection");
      if (*written < filled.bytes) {
        const auto rest = bytes.subspan(*written);
        auto passed = co_await pass_rest(to, Bytes(rest.begin(), rest.end()), last);
        if (!passed) co_return passed;
      }
      carried.bytes += filled.bytes;
      carried.last = from.loop().now();
    }
    if (filled.failed) co_return fail(from.error());
    if (filled.ended) {
      auto ended = co_await pass_end(to, carried, gate);
      co_return ended;
    }
    if (filled.bytes == 0) {
      auto ready = co_await from.readable();
      if (!ready) co_return ready;
    }
  }
}

namespace {

struct Flow {
  RelaySide& a;
  RelaySide& b;
  Carried& from_a;
  Carried& from_b;
  RelayTimes times;
  std::optional<Error> error{};
  Loop::Timer timer{};

  void abort(const Error& why) {
    if (!error) error = why;
    a.stream.abort(*error);
    b.stream.abort(*error);
  }

  /// Looks again exactly when the flow could first be overdue, so that an idle flow costs one timer.
  void watch() {
    const bool half = from_a.ended || from_b.ended;
    const auto allowed = std::chrono::seconds(half ? times.half_closed_s : times.idle_s);
    const auto due = std::max(from_a.last, from_b.last) + allowed;
    if (a.stream.loop().now() >= due) {
      abort({Code::timeout, half ? "one side ended and the other stayed silent" : "the flow was idle too long"});
      return;
    }
    timer = a.stream.loop().at(due, [this] { watch(); });
  }

  Task<> direction(RelaySide& source, RelaySide& sink, Carried& carried, bool& sink_broken) {
    auto outcome = co_await pump(source.stream, sink.stream, source.early, carried, source.gate, source.held_in);
    if (outcome) {
      watch();
      co_return;
    }
    // The receiver is gone, but may have sent bytes before it went: the other direction reads them and then meets the same
    // error (or an end). A broken source, a refusal of the gate or a cut ends both directions now.
    if (outcome.error().code == Code::reset && !sink_broken && source.stream.error().code == Code::internal) {
      sink_broken = true;
      if (!error) error = outcome.error();
      co_return;
    }
    abort(outcome.error());
  }
};

}  // namespace

Task<Result<>> relay(RelaySide a, RelaySide b, Carried& from_a, Carried& from_b, RelayTimes times) {
  Flow flow{a, b, from_a, from_b, times};
  from_a.last = from_b.last = a.stream.loop().now();
  flow.watch();
  bool b_broken = false;
  bool a_broken = false;
  co_await when_both(flow.direction(a, b, from_a, b_broken), flow.direction(b, a, from_b, a_broken));
  flow.timer.cancel();
  if (!flow.error) co_return Result<>{};
  flow.abort(*flow.error);
  co_return fail(*flow.error);
}

}  // namespace epif::net
