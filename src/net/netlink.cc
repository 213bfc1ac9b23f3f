#include "net/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace epif::net {
namespace {

constexpr std::size_t answer_bytes = 64 * 1024;  // the kernel fills at most 32 KiB at once
constexpr int dump_attempts = 5;

template <class T>
T read_as(ByteSpan bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

Code code_of(int error) {
  switch (error) {
    case ENOENT: return Code::not_found;
    case EOPNOTSUPP:
    case EPROTONOSUPPORT: return Code::unsupported;
    case EPERM:
    case EACCES: return Code::permission;
    default: return Code::io;
  }
}

std::unexpected<Error> broken_format() { return fail(Code::protocol, "a netlink answer breaks its format"); }

/// True, or the kernel's refusal.
Result<bool> acknowledged(ByteSpan body) {
  if (body.size() < sizeof(nlmsgerr)) return broken_format();
  const int error = -read_as<nlmsgerr>(body).error;
  if (error == 0) return true;
  return fail(code_of(error), "the kernel refuses a netlink request", {}, std::strerror(error));
}

}  // namespace

void each_attribute(ByteSpan bytes, const std::function<void(const Attribute&)>& call) {
  while (bytes.size() >= sizeof(nlattr)) {
    const auto header = read_as<nlattr>(bytes);
    if (header.nla_len < sizeof(nlattr) || header.nla_len > bytes.size()) return;
    call({static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK),
          bytes.subspan(sizeof(nlattr), header.nla_len - sizeof(nlattr))});
    bytes = bytes.subspan(std::min<std::size_t>(bytes.size(), NLA_ALIGN(header.nla_len)));
  }
}

std::optional<ByteSpan> find_attribute(ByteSpan bytes, std::uint16_t type) {
  std::optional<ByteSpan> found;
  each_attribute(bytes, [&](const Attribute& attribute) {
    if (attribute.type == type && !found) found = attribute.payload;
  });
  return found;
}

void put_attribute(Bytes& to, std::uint16_t type, ByteSpan payload) {
  const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + payload.size()), type};
  std::array<std::uint8_t, sizeof header> raw;
  std::memcpy(raw.data(), &header, sizeof header);
  to.insert(to.end(), raw.begin(), raw.end());
  to.insert(to.end(), payload.begin(), payload.end());
  to.resize(NLA_ALIGN(to.size()));
}

bool each_message(ByteSpan bytes, const std::function<bool(const NetlinkMessage&)>& call) {
  while (!bytes.empty()) {
    if (bytes.size() < NLMSG_HDRLEN) return false;
    const auto header = read_as<nlmsghdr>(bytes);
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > bytes.size()) return false;
    const auto body = bytes.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
    if (!call({header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq, header.nlmsg_pid, body})) return true;
    // The last one may come without its padding.
    bytes = bytes.subspan(std::min<std::size_t>(bytes.size(), NLMSG_ALIGN(std::size_t{header.nlmsg_len})));
  }
  return true;
}

Result<Netlink> Netlink::open(int protocol) {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!socket) return fail(system_error(errno, "cannot ask the kernel over netlink"));
  return Netlink(std::move(socket));
}

Result<> Netlink::ask(std::uint16_t type, std::uint16_t flags, ByteSpan body, const std::function<void(ByteSpan)>& each) {
  for (int attempt = 0; attempt < dump_attempts; ++attempt) {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_HDRLEN + body.size());
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    header.nlmsg_seq = ++sequence_;
    Bytes message(NLMSG_HDRLEN);
    std::memcpy(message.data(), &header, sizeof header);
    message.insert(message.end(), body.begin(), body.end());
    if (::send(socket_.get(), message.data(), message.size(), 0) < 0)
      return fail(system_error(errno, "the kernel refuses a netlink request"));
    auto whole = read_answers(each, (flags & NLM_F_DUMP) == NLM_F_DUMP);
    if (!whole) return fail(whole.error());
    if (*whole) return {};
  }
  return fail(Code::io, "the kernel's table changes faster than it can be read");
}

/// False: the dump was interrupted by a change.
Result<bool> Netlink::read_answers(const std::function<void(ByteSpan)>& each, bool dump) {
  Bytes space(answer_bytes);
  bool interrupted = false;
  for (;;) {
    const auto got = ::recv(socket_.get(), space.data(), space.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(system_error(errno, "cannot read the kernel's netlink answer"));
    std::optional<Result<bool>> end;
    const bool fits = each_message(ByteSpan(space).first(static_cast<std::size_t>(got)), [&](const NetlinkMessage& message) {
      if (message.sequence != sequence_) return true;  // of an earlier request that ended in an error
      if ((message.flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (message.type == NLMSG_DONE) end = !interrupted;
      else if (message.type == NLMSG_ERROR) end = acknowledged(message.body);
      else if (each) each(message.body);
      if (!end && !dump && (message.flags & NLM_F_MULTI) == 0 && each) end = true;
      return !end;
    });
    if (end) return std::move(*end);
    if (!fits) return broken_format();
  }
}

}  // namespace epif::net
