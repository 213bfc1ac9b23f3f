#include "association/stream_queue.h"

#include "base/limits.h"

namespace epif::association {

bool StreamQueue::push(ByteSpan header, ByteSpan payload) {
  if (closed_ || failed_ || pending_.size() - written_ + header.size() + payload.size() > limits::udp_stream_queue_bytes) return false;
  if (!queued_.take(header.size() + payload.size())) return false;
  pending_.insert(pending_.end(), header.begin(), header.end());
  pending_.insert(pending_.end(), payload.begin(), payload.end());
  return true;
}

void StreamQueue::flush() {
  while (!blocked_ && !failed_ && written_ < pending_.size()) {
    const auto io = stream_.write_some(ByteSpan(pending_).subspan(written_));
    if (io.state == net::Io::State::moved) {
      written_ += io.bytes;
    } else if (io.state == net::Io::State::would_block) {
      blocked_ = true;
    } else {
      failed_ = true;  // the reader of the stream meets the same end
    }
  }
  const auto before = pending_.size();
  if (written_ == pending_.size() || failed_) {
    // An idle association holds no buffer.
    if (pending_.capacity() > 4096) Bytes().swap(pending_);
    pending_.clear();
  } else if (written_ > 0) {
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(written_));
  }
  queued_.give(before - pending_.size());
  written_ = 0;
  if (blocked_) wake();
}

net::Task<void> StreamQueue::run() {
  while (!closed_) {
    co_await Work{*this};
    if (closed_) co_return;
    auto ready = co_await stream_.writable();
    blocked_ = false;
    if (closed_) co_return;
    if (!ready) failed_ = true;
    flush();  // after a failure: lets go of what waits
    if (!ready) co_return;
  }
}

void StreamQueue::close() {
  closed_ = true;
  wake();
}

void StreamQueue::wake() {
  if (waiter_) stream_.loop().resume_soon(std::exchange(waiter_, {}));
}

}  // namespace epif::association
