#pragma once
#include "association/queued_bytes.h"
#include "net/stream.h"

namespace epif::association {

/// Messages on their way into a TCP connection: whole and in order, or not at all. A full queue drops, since a datagram may
/// be lost but must not wait for ever. On the stream's loop.
class StreamQueue {
 public:
  /// `queued` counts what waits; outlives this.
  StreamQueue(net::Stream& stream, QueuedBytes& queued) : stream_(stream), queued_(queued) {}
  ~StreamQueue() { queued_.give(pending_.size()); }
  StreamQueue(const StreamQueue&) = delete;
  StreamQueue& operator=(const StreamQueue&) = delete;

  /// False if there is no room, here (limits::udp_stream_queue_bytes) or in all; then nothing of it is sent.
  [[nodiscard]] bool push(ByteSpan header, ByteSpan payload);
  /// Writes what the connection takes now; to be called after a batch of push().
  void flush();
  /// Writes the rest whenever there is room, until close() or the stream's end. To be awaited by the owner, once.
  [[nodiscard]] net::Task<void> run();
  void close();
  /// The peer does not read: run() will end only when the stream fails.
  [[nodiscard]] bool blocked() const { return blocked_; }

 private:
  struct Work {
    StreamQueue& queue;
    bool await_ready() const noexcept { return queue.closed_ || queue.blocked_; }
    void await_suspend(std::coroutine_handle<> handle) const noexcept { queue.waiter_ = handle; }
    void await_resume() const noexcept {}
  };
  void wake();

  net::Stream& stream_;
  QueuedBytes& queued_;
  Bytes pending_;
  std::size_t written_ = 0;  ///< of pending_
  bool blocked_ = false;     ///< run() waits for room
  bool closed_ = false;
  bool failed_ = false;
  std::coroutine_handle<> waiter_{};
};

}  // namespace epif::association
