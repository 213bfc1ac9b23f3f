#include "net/stream.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <utility>

#include "base/limits.h"
#include "net/pipe_pool.h"

namespace epif::net {

Error Stream::error() const {
  if (const auto* error = interest_.error()) return *error;
  return {Code::internal, "the stream has not failed"};
}

Io Stream::fail_with(Error error) {
  interest_.fail(std::move(error));
  return {Io::State::failed};
}

Io Stream::splice_into(Pipe&) { return {Io::State::failed}; }
Io Stream::splice_from(Pipe&, bool) { return {Io::State::failed}; }
Io Stream::look() { return {Io::State::would_block}; }

SocketStream::SocketStream(Loop& loop, Fd fd, bool non_blocking) : Stream(loop, std::move(fd)) {
  if (non_blocking) return;
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  if ((flags & O_NONBLOCK) == 0) ::fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK);
}

Io SocketStream::read_some(MutableByteSpan into) {
  if (interest_.error() != nullptr) return {Io::State::failed};
  if (!interest_.may_read()) return {Io::State::would_block};  // what comes now comes with an event
  for (;;) {
    const auto got = ::recv(fd_.get(), into.data(), into.size(), 0);
    if (got > 0) {
      // A short read empties the socket; news, an end among them, comes as a new edge.
      if (static_cast<std::size_t>(got) < into.size()) interest_.blocked_read();
      return {Io::State::moved, static_cast<std::size_t>(got)};
    }
    if (got == 0 && reset_met_) return fail_with({Code::reset, "the peer broke the connection"});
    if (got == 0) return {Io::State::end};
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      interest_.drained_read();
      return {Io::State::would_block};
    }
    return fail_with(system_error(errno, "the peer broke the connection"));
  }
}

Io SocketStream::write_some(ByteSpan from, bool last) {
  if (interest_.error() != nullptr) return {Io::State::failed};
  for (;;) {
    const auto put = ::send(fd_.get(), from.data(), from.size(), MSG_NOSIGNAL | (last ? MSG_MORE : 0));
    if (put >= 0) return {Io::State::moved, static_cast<std::size_t>(put)};
    if (errno == EINTR) continue;
    // EINPROGRESS: the SYN has waited for these bytes, and left without them.
    if (errno == EAGAIN || errno == EINPROGRESS) {
      interest_.blocked_write();
      return {Io::State::would_block};
    }
    // The kernel tells of a reset once: a read after this would look like an orderly end (after a FIN it is EPIPE instead).
    reset_met_ = reset_met_ || errno == ECONNRESET;
    // Not fail_with: bytes that the peer sent before it went may still be read; the reading side meets the same error.
    return {Io::State::failed};
  }
}

bool SocketStream::can_splice() const {
  int protocol = 0;
  socklen_t size = sizeof protocol;
  return ::getsockopt(fd_.get(), SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP;
}

Io SocketStream::splice_into(Pipe& pipe) {
  assert(pipe.held == 0 && "EAGAIN would not tell a full pipe from an empty socket");
  if (interest_.error() != nullptr) return {Io::State::failed};
  for (bool looked = false;;) {
    const auto got = ::splice(fd_.get(), nullptr, pipe.write_end(), nullptr, limits::splice_bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got > 0) {
      // A short one says nothing: the pipe's slots may have been filled by small pieces.
      pipe.held = static_cast<std::size_t>(got);
      return {Io::State::moved, pipe.held};
    }
    if (got < 0 && errno == EINTR) continue;
    if (got == 0 || errno == EAGAIN) {
      // A byte marked urgent stops splice() for good, with an end behind it even as if it were the end. A read passes over it.
      const Io there = look();
      if (there.state != Io::State::moved) return there;
      if (std::exchange(looked, true)) return {Io::State::failed};
      continue;
    }
    if (errno == EINVAL || errno == EOPNOTSUPP) return {Io::State::failed};
    return fail_with(system_error(errno, "the peer broke the connection"));
  }
}

Io SocketStream::splice_from(Pipe& pipe, bool last) {
  if (interest_.error() != nullptr) return {Io::State::failed};
  for (;;) {
    const auto flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (last ? SPLICE_F_MORE : 0u);
    const auto put = ::splice(pipe.read_end(), nullptr, fd_.get(), nullptr, pipe.held, flags);
    if (put > 0) {
      pipe.held -= static_cast<std::size_t>(put);
      return {Io::State::moved, static_cast<std::size_t>(put)};
    }
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) {
      interest_.blocked_write();
      return {Io::State::would_block};
    }
    reset_met_ = reset_met_ || errno == ECONNRESET;
    return {Io::State::failed};  // as in write_some
  }
}

Io SocketStream::look() {
  if (interest_.error() != nullptr) return {Io::State::failed};
  for (;;) {
    std::uint8_t byte = 0;
    const auto got = ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0) return {Io::State::moved, 1};
    if (got == 0) return reset_met_ ? fail_with({Code::reset, "the peer broke the connection"}) : Io{Io::State::end};
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      interest_.drained_read();
      return {Io::State::would_block};
    }
    return fail_with(system_error(errno, "the peer broke the connection"));
  }
}

Io SocketStream::end_write() {
  if (interest_.error() != nullptr) return {Io::State::failed};
  // A failure stays a return value, as in write_some: what the peer sent before it went may still be read.
  if (::shutdown(fd_.get(), SHUT_WR) == 0) return {Io::State::moved};
  reset_met_ = reset_met_ || errno == ECONNRESET || errno == ENOTCONN;
  return {Io::State::failed};
}

void SocketStream::abort(Error why) {
  if (fd_) reset_socket(fd_.get());
  interest_.fail(std::move(why));
}

Stream::Mover SocketStream::leave_loop() {
  return [fd = std::move(fd_)](Loop& loop) mutable -> std::unique_ptr<Stream> { return std::make_unique<SocketStream>(loop, std::move(fd), true); };
}

Fd SocketStream::release(std::unique_ptr<SocketStream> stream) {
  // The Interest deregisters by number in its destructor, which runs before the caller can close this duplicate-free fd.
  const int fd = stream->fd_.release();
  stream.reset();
  return Fd(fd);
}

Task<Result<std::size_t>> read_more(Stream& stream, MutableByteSpan into, std::optional<TimePoint> deadline) {
  for (;;) {
    const Io io = stream.read_some(into);
    if (io.state == Io::State::moved) co_return io.bytes;
    if (io.state == Io::State::end) co_return std::size_t{0};
    if (io.state == Io::State::failed) co_return fail(stream.error());
    auto ready = co_await stream.readable(deadline);
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

Task<Result<>> write_all(Stream& stream, ByteSpan bytes, std::optional<TimePoint> deadline, bool more) {
  while (!bytes.empty()) {
    const Io io = stream.write_some(bytes, more);
    if (io.state == Io::State::moved) {
      bytes = bytes.subspan(io.bytes);
    } else if (io.state == Io::State::failed) {
      co_return fail(Code::reset, "the peer broke the connection");
    } else {
      auto ready = co_await stream.writable(deadline);
      if (!ready) co_return fail(std::move(ready.error()));
    }
  }
  co_return Result<>{};
}

Task<Result<>> end_write(Stream& stream, std::optional<TimePoint> deadline) {
  for (;;) {
    const Io io = stream.end_write();
    if (io.state == Io::State::moved) co_return Result<>{};
    if (io.state == Io::State::failed) co_return fail(Code::reset, "the peer broke the connection");
    auto ready = co_await stream.writable(deadline);
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

void reset_socket(int fd) {
  // Deaf first, and for good: a function that holds a copy could listen on the socket once it is unconnected.
  sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog filter{1, &drop_all};
  const int locked = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
  ::setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &locked, sizeof locked);
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  // Resets TCP whoever else holds the socket. Unix sockets know no reset: both directions end.
  if (::connect(fd, &nowhere, sizeof nowhere) != 0) ::shutdown(fd, SHUT_RDWR);
}

void reset_on_close(int fd, bool on) {
  if (fd < 0) return;
  const linger wish{on ? 1 : 0, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &wish, sizeof wish);
}

Result<std::pair<Fd, Fd>> stream_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return fail(system_error(errno, "cannot make a socket pair"));
  }
  return std::pair{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace epif::net
