#include "base/limits.h"
#include "net/pump.h"

// The bulk part of a direction: bytes go from socket to socket through a pipe, and user space never sees them. Small messages
// keep recv and send, which need fewer system calls for them.
namespace epif::net {

void Pump::note_read(std::size_t bytes) {
  if (bytes < limits::splice_large_bytes) {
    bulk_ = 0;
  } else if (bulk_ < limits::splice_after_bytes) {
    bulk_ += static_cast<std::uint32_t>(bytes);
  }
}

bool Pump::is_bulk() {
  if (by_pipe_ == ByPipe::no) return false;
  const auto mode = from_.loop().pipes().mode();
  if (mode == Splice::off || (mode == Splice::bulk && bulk_ < limits::splice_after_bytes)) return false;
  if (by_pipe_ == ByPipe::unknown) {
    if (from_.can_splice() && to_.can_splice()) {
      by_pipe_ = ByPipe::yes;
    } else if (!from_.may_splice_later() && !to_.may_splice_later()) {
      by_pipe_ = ByPipe::no;
    }
  }
  return by_pipe_ == ByPipe::yes;
}

Pump::Next Pump::take_by_pipe() {
  auto& pipes = from_.loop().pipes();
  pipe_ = pipes.take();
  if (!pipe_) return take();
  const Io got = from_.splice_into(*pipe_);
  if (got.state != Io::State::moved) {
    pipes.give_back(std::move(pipe_));
    if (got.state == Io::State::failed && !from_.has_failed()) {
      by_pipe_ = ByPipe::no;
      return take();
    }
    source_ended_ = got.state == Io::State::end;
    source_failed_ = got.state == Io::State::failed;
    return Next::readable;
  }
  note_read(got.bytes);
  // Is this the last of it? Then it may share a segment with the end.
  const Io next = from_.look();
  source_ended_ = next.state == Io::State::end;
  source_failed_ = next.state == Io::State::failed;
  if (gate_ != nullptr) {
    auto allowed = gate_->before_bytes(carried_, got.bytes);
    if (!allowed) return fail_with(std::move(allowed.error()));
  }
  return empty_pipe();
}

Pump::Next Pump::empty_pipe() {
  while (pipe_->held > 0) {
    if (to_.has_failed()) return fail_with(to_.error());
    const Io put = to_.splice_from(*pipe_, source_ended_ && gate_ == nullptr);
    if (put.state == Io::State::failed) return fail_with({Code::reset, "the receiver broke the connection"});
    if (put.state == Io::State::would_block) return Next::writable;
    carried_.bytes += put.bytes;
    carried_.last = from_.loop().now();
  }
  from_.loop().pipes().give_back(std::move(pipe_));
  return Next::readable;
}

}  // namespace epif::net
