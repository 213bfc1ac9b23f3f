#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"

/// Questions to the kernel over netlink, each with its whole answer; in the network namespace of the calling thread.
namespace epif::net {

/// One attribute (struct nlattr): its type without flags, and its payload.
struct Attribute {
  std::uint16_t type = 0;
  ByteSpan payload;
};
/// Walks the attributes of `bytes`; stops at the first that does not fit.
void each_attribute(ByteSpan bytes, const std::function<void(const Attribute&)>& call);
/// The payload of the first attribute of that type.
[[nodiscard]] std::optional<ByteSpan> find_attribute(ByteSpan bytes, std::uint16_t type);
/// Appends an attribute with padding.
void put_attribute(Bytes& to, std::uint16_t type, ByteSpan payload);

/// One message (struct nlmsghdr).
struct NetlinkMessage {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  std::uint32_t port = 0;  ///< of whoever made what it tells; 0: the kernel itself
  ByteSpan body;
};
/// Walks the messages that one recv() gave, until `call` returns false. False: a length does not fit, and nothing behind it was seen.
[[nodiscard]] bool each_message(ByteSpan bytes, const std::function<bool(const NetlinkMessage&)>& call);

class Netlink {
 public:
  /// `protocol`: NETLINK_SOCK_DIAG, NETLINK_NETFILTER. Errors: permission, unsupported, no_descriptors, io.
  [[nodiscard]] static Result<Netlink> open(int protocol);

  /// Sends one request; `flags` besides NLM_F_REQUEST. With NLM_F_DUMP `each` gets the body of every answer; with NLM_F_ACK
  /// the kernel says whether it is done. Errors: not_found (ENOENT), unsupported, permission, io; an interrupted dump is
  /// asked for again, so that `each` may see an entry twice.
  [[nodiscard]] Result<> ask(std::uint16_t type, std::uint16_t flags, ByteSpan body,
                             const std::function<void(ByteSpan)>& each = {});

 private:
  explicit Netlink(Fd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] Result<bool> read_answers(const std::function<void(ByteSpan)>& each, bool dump);
  Fd socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace epif::net
