#pragma once
#include <cstddef>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"
#include "net/loop.h"
#include "net/task.h"

namespace epif::net {

/// Outcome of one attempt that never blocks.
struct Io {
  enum class State {
    moved,        ///< `bytes` > 0 were read or written
    would_block,  ///< wait for readable()/writable() and try again
    end,          ///< read: orderly end (FIN, close_notify)
    failed,       ///< see Stream::error()
  };
  State state;
  std::size_t bytes = 0;
};

/// A duplex byte stream on a loop: a TCP or Unix socket (SocketStream), or TLS over one (TlsStream). One reader and one
/// writer may wait at a time. Destruction closes: politely if nothing went wrong, see abort() for the other way.
class Stream {
 public:
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] virtual Io read_some(MutableByteSpan into) = 0;
  /// `last`: the caller will call end_write() or write next, so that these bytes may share a segment with what follows.
  [[nodiscard]] virtual Io write_some(ByteSpan from, bool last = false) = 0;
  /// Ends the write side (FIN; close_notify then FIN stays for the close). would_block: wait for writable(), call again.
  [[nodiscard]] virtual Io end_write() = 0;
  /// An error at the peer, never a clean end: RST for TCP (for all holders of the socket), no close_notify for TLS. Waiters
  /// here resume with `why`. Safe to call twice; the first reason stays.
  virtual void abort(Error why) = 0;
  /// The TCP socket itself, if handing it on keeps the stream's meaning (no TLS layer); -1 otherwise.
  [[nodiscard]] virtual int clear_socket() const = 0;

  /// Makes the stream anew on the loop that it is given, on that loop's thread.
  using Mover = std::move_only_function<std::unique_ptr<Stream>(Loop& loop)>;
  /// Gives up the descriptor, so that the stream can go on elsewhere. This one is dead afterwards and to be destroyed before
  /// the other is made. Nobody may wait for it.
  [[nodiscard]] virtual Mover leave_loop() = 0;

  // For a relay that need not see the bytes; only if can_splice().
  /// True for TCP in clear.
  [[nodiscard]] virtual bool can_splice() const { return false; }
  /// Not now, but perhaps later.
  [[nodiscard]] virtual bool may_splice_later() const { return false; }
  /// Moves what has arrived into an empty pipe, up to limits::splice_bytes. Failed without has_failed(): the kernel cannot do
  /// it with this socket, and nothing was moved.
  [[nodiscard]] virtual Io splice_into(Pipe& pipe);
  /// Moves what the pipe holds into the socket. `last` as of write_some().
  [[nodiscard]] virtual Io splice_from(Pipe& pipe, bool last);
  /// What a read would meet: `moved` if bytes are there, and none of them is taken.
  [[nodiscard]] virtual Io look();

  /// True if a read may give something at once (for joining the last data with its end).
  [[nodiscard]] bool may_read() const { return buffered_ || interest_.may_read(); }
  [[nodiscard]] Interest::Wait readable(std::optional<TimePoint> deadline = {}) {
    return read_needs_write_ ? interest_.readable_by_write(deadline) : interest_.readable(deadline);
  }
  [[nodiscard]] Interest::Wait writable(std::optional<TimePoint> deadline = {}) { return interest_.writable(deadline); }
  /// As Interest::forward().
  void forward_news(Interest& outer) { interest_.forward(outer); }
  [[nodiscard]] bool reads_by_writing() const { return read_needs_write_; }
  /// As Interest::nudge_reader().
  void nudge_reader() { interest_.nudge_reader(); }
  [[nodiscard]] Interest::Ready until_readable() { return interest_.until_readable(read_needs_write_); }
  [[nodiscard]] Interest::Ready until_writable() { return interest_.until_writable(); }
  [[nodiscard]] bool has_failed() const { return interest_.error() != nullptr; }
  [[nodiscard]] Error error() const;  ///< why the stream failed; Code::internal if it has not
  [[nodiscard]] Loop& loop() const { return interest_.loop(); }
  [[nodiscard]] int fd() const { return fd_.get(); }  ///< -1: it has none of its own

 protected:
  Stream(Loop& loop, Fd fd) : fd_(std::move(fd)), interest_(loop, fd_.get()) {}
  Io fail_with(Error error);

  Fd fd_;
  Interest interest_;
  bool read_needs_write_ = false;  ///< TLS: a read waits for room to write
  bool buffered_ = false;          ///< TLS: bytes are in user space already
};

/// A connected TCP or Unix stream socket.
class SocketStream final : public Stream {
 public:
  /// The descriptor is made non-blocking, unless whoever made it says that it is.
  SocketStream(Loop& loop, Fd fd, bool non_blocking = false);
  Io read_some(MutableByteSpan into) override;
  Io write_some(ByteSpan from, bool last = false) override;
  Io end_write() override;
  void abort(Error why) override;
  int clear_socket() const override { return fd_.get(); }
  Mover leave_loop() override;
  bool can_splice() const override;
  Io splice_into(Pipe& pipe) override;
  Io splice_from(Pipe& pipe, bool last) override;
  Io look() override;
  /// Nothing can have arrived yet: the first read waits for news, in place of asking the kernel in vain.
  void await_bytes() { interest_.drained_read(); }
  /// A connection under way: the next wait for writable() must be answered by a new event.
  void await_connection() { interest_.blocked_write(); }
  /// Gives the descriptor away (TLS takes it over). The stream is dead afterwards.
  [[nodiscard]] static Fd release(std::unique_ptr<SocketStream> stream);

 private:
  bool reset_met_ = false;  ///< a write took the socket's one ECONNRESET: the next read's 0 is no orderly end
};

/// Reads at least one byte; 0 means an orderly end. Errors: the stream's, or timeout.
[[nodiscard]] Task<Result<std::size_t>> read_more(Stream& stream, MutableByteSpan into, std::optional<TimePoint> deadline = {});
/// Writes everything. `more`: other bytes, or the end, follow at once and may share a segment.
[[nodiscard]] Task<Result<>> write_all(Stream& stream, ByteSpan bytes, std::optional<TimePoint> deadline = {}, bool more = false);
/// Ends the write side, waiting where the stream has to.
[[nodiscard]] Task<Result<>> end_write(Stream& stream, std::optional<TimePoint> deadline = {});

/// Resets a TCP connection at once for all holders of the socket, by connect(AF_UNSPEC), and leaves it deaf: whoever holds a
/// copy may listen on it, but nothing ever arrives. Shuts down other sockets.
void reset_socket(int fd);

/// While on, closing the socket resets it, whoever closes: a kill of the process must not look like an end. To be switched off
/// once the connection has come to its proper end. For TLS it is not needed: an end without close_notify is an error there.
void reset_on_close(int fd, bool on);

/// Two connected Unix stream sockets, non-blocking, close-on-exec.
[[nodiscard]] Result<std::pair<Fd, Fd>> stream_pair();

}  // namespace epif::net
