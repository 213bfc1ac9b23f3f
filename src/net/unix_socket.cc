#include "net/unix_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cassert>
#include <cerrno>

namespace epif::net {
namespace {

Result<> fill_path(sockaddr_un& address, const std::string& path) {
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Code::invalid_input, "the socket's path is too long", path, {},
                fmt::format("at most {} bytes", sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return {};
}

union ControlBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * descriptors_in_message)];
};

void take_descriptors(msghdr& header, std::vector<Fd>& out) {
  for (auto* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      out.emplace_back(fd);
    }
  }
}

}  // namespace

Result<PeerCredentials> peer_credentials(int fd) {
  ::ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return fail(system_error(errno, "cannot ask for the peer's credentials"));
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

SeqPacket::SeqPacket(Loop& loop, Fd fd) : fd_(std::move(fd)), interest_(loop, fd_.get()) {
  ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
}

Result<std::unique_ptr<SeqPacket>> SeqPacket::connect(Loop& loop, const std::string& path) {
  const Fd handle(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!handle) return fail(system_error(errno, "cannot reach the socket", path));
  struct stat facts {};
  if (::fstat(handle.get(), &facts) != 0) return fail(system_error(errno, "cannot examine the socket", path));
  if (!S_ISSOCK(facts.st_mode)) return fail(Code::protocol, "what stands there is not a socket", path);
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(system_error(errno, "cannot make a socket", path));
  sockaddr_un address{};
  auto filled = fill_path(address, fmt::format("/proc/self/fd/{}", handle.get()));
  if (!filled) return fail(std::move(filled.error()));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return fail(system_error(errno, "cannot connect to the socket", path));
  }
  return std::make_unique<SeqPacket>(loop, std::move(fd));
}

Result<std::optional<SeqPacket::Message>> SeqPacket::receive_now(std::size_t max_bytes) {
  Message message;
  message.bytes.resize(max_bytes);
  iovec part{message.bytes.data(), message.bytes.size()};
  ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof control.bytes;
  for (;;) {
    const auto got = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC);
    if (got > 0) {
      take_descriptors(header, message.descriptors);
      message.truncated = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
      message.bytes.resize(static_cast<std::size_t>(got));
      return message;
    }
    if (got == 0) return fail(Code::reset, "the other side of the control socket is gone");
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail(system_error(errno, "the control socket failed"));
    interest_.drained_read();
    return std::nullopt;
  }
}

Task<Result<SeqPacket::Message>> SeqPacket::receive(std::size_t max_bytes, std::optional<TimePoint> deadline) {
  for (;;) {
    if (const auto* error = interest_.error()) co_return fail(*error);
    auto message = receive_now(max_bytes);
    if (!message) co_return fail(std::move(message.error()));
    if (*message) co_return std::move(**message);
    auto ready = co_await interest_.readable(deadline);
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

Result<bool> SeqPacket::send_now(ByteSpan bytes, std::span<const int> descriptors) {
  assert(descriptors.size() <= descriptors_in_message);
  iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    auto* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  for (;;) {
    if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL) >= 0) return true;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      interest_.blocked_write();
      return false;
    }
    return fail(system_error(errno, "the control socket failed"));
  }
}

Task<Result<>> SeqPacket::send(ByteSpan bytes, std::span<const int> descriptors, std::optional<TimePoint> deadline) {
  for (;;) {
    auto sent = send_now(bytes, descriptors);
    if (!sent) co_return fail(std::move(sent.error()));
    if (*sent) co_return Result<>{};
    auto ready = co_await interest_.writable(deadline);
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

Result<Fd> listen_unix(const std::string& path, int type) {
  sockaddr_un address{};
  auto filled = fill_path(address, path);
  if (!filled) return fail(std::move(filled.error()));
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(system_error(errno, "cannot make a socket", path));
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) == 0) {
    if (!S_ISSOCK(facts.st_mode)) return fail(Code::address_in_use, "a file that is not a socket stands there", path);
    // A live owner answers; only a dead one's socket may be taken away.
    const Fd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
      return fail(Code::address_in_use, "another program listens there", path, {}, "choose another path or end that program");
    }
    ::unlink(path.c_str());
  }
  const auto old_mask = ::umask(0177);
  const bool bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::umask(old_mask);
  if (!bound || ::listen(fd.get(), 128) != 0) return fail(system_error(errno, "cannot listen", path));
  return fd;
}

}  // namespace epif::net
