#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "net/stream.h"

struct ucred;

namespace epif::net {

/// Credentials of the process at the other end when it connected or listened (SO_PEERCRED).
struct PeerCredentials {
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};
[[nodiscard]] Result<PeerCredentials> peer_credentials(int fd);

/// At most so many go with one message.
inline constexpr std::size_t descriptors_in_message = 8;

/// A Unix seqpacket connection that carries messages with descriptors, on a loop.
class SeqPacket {
 public:
  SeqPacket(Loop& loop, Fd fd);

  /// Connects to the socket at `path` without following a link: opened with O_PATH|O_NOFOLLOW, must be a socket, and is
  /// connected through that handle, so what was checked is what is used. Errors: not_found, refused, protocol (not a socket).
  [[nodiscard]] static Result<std::unique_ptr<SeqPacket>> connect(Loop& loop, const std::string& path);

  struct Message {
    Bytes bytes;
    std::vector<Fd> descriptors;
    bool truncated = false;  ///< data or descriptors were lost (MSG_TRUNC, MSG_CTRUNC): treat as a breach
  };
  /// One message; error `reset` when the other side is gone. At most `max_bytes` and descriptors_in_message.
  [[nodiscard]] Task<Result<Message>> receive(std::size_t max_bytes, std::optional<TimePoint> deadline = {});
  /// The same without waiting: nothing if no message is there.
  [[nodiscard]] Result<std::optional<Message>> receive_now(std::size_t max_bytes);
  /// Sends one message with copies of the descriptors. One sender at a time.
  [[nodiscard]] Task<Result<>> send(ByteSpan bytes, std::span<const int> descriptors = {}, std::optional<TimePoint> deadline = {});
  /// The same without waiting: false if it would block.
  [[nodiscard]] Result<bool> send_now(ByteSpan bytes, std::span<const int> descriptors = {});

  void abort(Error why) { interest_.fail(std::move(why)); }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  Interest interest_;
};

/// A listening Unix socket at `path` (0600, an old socket file there is replaced). `type`: SOCK_STREAM or SOCK_SEQPACKET.
[[nodiscard]] Result<Fd> listen_unix(const std::string& path, int type);

}  // namespace epif::net
