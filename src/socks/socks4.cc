#include "socks/socks4.h"

#include <algorithm>

#include "base/limits.h"
#include "socks/wire.h"

namespace epif::socks4 {
namespace {

constexpr std::size_t fixed_bytes = 8;

/// Text up to a NUL. NeedMore without one, unless the text is already longer than allowed.
socks::Decoded<std::string_view> decode_terminated(ByteSpan received, std::size_t max, std::string_view too_long) {
  const auto window = received.first(std::min(received.size(), max + 1));
  const auto nul = std::ranges::find(window, std::uint8_t{0});
  if (nul != window.end()) {
    const auto length = static_cast<std::size_t>(nul - window.begin());
    return socks::Done<std::string_view>{as_text(received.first(length)), length + 1};
  }
  if (received.size() > max) return socks::Malformed{socks::Fault::too_long, too_long};
  return socks::NeedMore{};
}

}  // namespace

socks::Decoded<Request> decode_request(ByteSpan received) {
  if (received.empty()) return socks::NeedMore{};
  if (received[0] != version) return socks::Malformed{socks::Fault::version, "not a SOCKS4 request"};
  if (received.size() < fixed_bytes) return socks::NeedMore{};
  Request request;
  request.command = static_cast<socks::Command>(received[1]);
  request.target.port = load_u16(&received[2]);
  const auto address = received.subspan(4, 4);
  request.target.host = IpAddress::v4(address);

  const auto user = decode_terminated(received.subspan(fixed_bytes), limits::socks4_user_max_bytes, "user id too long");
  if (const auto* fault = socks::malformed(user)) return *fault;
  const auto* user_done = socks::done(user);
  if (user_done == nullptr) return socks::NeedMore{};
  request.user = user_done->message;
  std::size_t consumed = fixed_bytes + user_done->consumed;

  const bool named = address[0] == 0 && address[1] == 0 && address[2] == 0 && address[3] != 0;
  if (named) {
    const auto name = decode_terminated(received.subspan(consumed), limits::name_max_bytes, "host name too long");
    if (const auto* fault = socks::malformed(name)) return *fault;
    const auto* name_done = socks::done(name);
    if (name_done == nullptr) return socks::NeedMore{};
    if (name_done->message.empty()) return socks::Malformed{socks::Fault::name, "empty host name"};
    request.target.host = name_done->message;
    consumed += name_done->consumed;
  }
  return socks::Done<Request>{request, consumed};
}

std::size_t encode_reply(ReplyCode code, const SocketAddress& bound, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.u8(0);
  writer.u8(static_cast<std::uint8_t>(code));
  writer.u16(bound.port);
  const auto plain = bound.ip.unmapped();
  if (plain.is_v4()) {
    writer.bytes(plain.bytes());
  } else {
    writer.zeros(4);
  }
  return writer.finish();
}

}  // namespace epif::socks4
