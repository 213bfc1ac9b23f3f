#include "net/pump.h"

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

}  // namespace

Pump::Pump(Stream& from, Stream& to, ByteSpan early, Carried& carried, PumpGate* gate, Bytes* held_in)
    : from_(from), to_(to), carried_(carried), gate_(gate), held_in_(held_in), left_(early), moving_(early.size()) {
  carried_.last = from.loop().now();
}

Pump::Next Pump::fail_with(Error error) {
  error_ = std::make_unique<Error>(std::move(error));
  return Next::failed;
}

void Pump::passed() {
  carried_.bytes += moving_;
  carried_.last = from_.loop().now();
  moving_ = 0;
  asked_ = true;
  Bytes().swap(rest_);
  if (held_in_ != nullptr) Bytes().swap(*std::exchange(held_in_, nullptr));
}

/// Reads what is there and writes what is taken at once. What is not is copied out of the shared scratch buffer, since
/// whoever waits must not hold it.
Pump::Next Pump::take() {
  const auto scratch = from_.loop().scratch();
  const Filled filled = fill(from_, scratch);
  source_ended_ = filled.ended;
  source_failed_ = filled.failed;
  if (filled.bytes == 0) return Next::readable;
  note_read(filled.bytes);
  if (gate_ != nullptr) {
    auto allowed = gate_->before_bytes(carried_, filled.bytes);
    if (!allowed) return fail_with(std::move(allowed.error()));
  }
  moving_ = filled.bytes;
  auto bytes = ByteSpan(scratch).first(filled.bytes);
  while (!bytes.empty()) {
    // With a gate the end may yet be refused: no byte may wait for a FIN that does not come.
    const Io io = to_.write_some(bytes, source_ended_ && gate_ == nullptr);
    if (io.state == Io::State::failed) return fail_with({Code::reset, "the receiver broke the connection"});
    if (io.state == Io::State::would_block) {
      rest_.assign(bytes.begin(), bytes.end());
      left_ = rest_;
      return Next::writable;
    }
    bytes = bytes.subspan(io.bytes);
  }
  passed();
  return Next::readable;
}

Pump::Next Pump::step() {
  if (!asked_ && moving_ > 0 && gate_ != nullptr) {
    auto allowed = gate_->before_bytes(carried_, moving_);
    if (!allowed) return fail_with(std::move(allowed.error()));
  }
  asked_ = true;
  while (!left_.empty()) {
    if (to_.has_failed()) return fail_with(to_.error());
    const Io io = to_.write_some(left_, source_ended_ && gate_ == nullptr);
    if (io.state == Io::State::failed) return fail_with({Code::reset, "the receiver broke the connection"});
    if (io.state == Io::State::would_block) return Next::writable;
    left_ = left_.subspan(io.bytes);
  }
  if (moving_ > 0 || held_in_ != nullptr) passed();
  for (;;) {
    if (pipe_) {
      if (const auto next = empty_pipe(); next != Next::readable) return next;
    }
    if (source_failed_) return fail_with(from_.error());
    if (source_ended_) return Next::end;
    if (!from_.may_read() && !from_.has_failed()) return Next::readable;
    const auto before = carried_.bytes;
    const auto next = is_bulk() ? take_by_pipe() : take();
    const bool news = source_ended_ || source_failed_;
    if (next == Next::failed || next == Next::writable) return next;
    if (!news && carried_.bytes == before) return Next::readable;
  }
}

bool Pump::end_at_once() {
  if (gate_ != nullptr || to_.end_write().state != Io::State::moved) return false;
  carried_.ended = true;
  return true;
}

Task<void> Pump::pass_end() {
  if (gate_ != nullptr) {
    auto allowed = co_await gate_->before_end(carried_);
    if (!allowed) error_ = std::make_unique<Error>(std::move(allowed.error()));
  }
  if (error_) co_return;
  auto ended = co_await end_write(to_);
  if (ended) {
    carried_.ended = true;
  } else {
    error_ = std::make_unique<Error>(std::move(ended.error()));
  }
}

Task<void> Pump::run() {
  for (;;) {
    const auto next = step();
    if (next == Next::readable) {
      co_await from_.until_readable();
    } else if (next == Next::writable) {
      co_await to_.until_writable();
    } else {
      if (next == Next::end && !end_at_once()) co_await pass_end();
      co_return;
    }
  }
}

}  // namespace epif::net
