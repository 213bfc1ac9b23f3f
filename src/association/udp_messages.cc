#include "association/udp_messages.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include "net/datagrams.h"

namespace epif::association {
namespace {

constexpr unsigned reads_in_a_row = 8;

/// Hands on every whole message; `used` counts their bytes.
Result<> hand_on(ByteSpan received, std::size_t& used, const bool& over,
                 const std::function<Result<>(const socks6::UdpMessage&)>& on_message) {
  while (!over) {
    const auto decoded = socks6::decode_udp_message(received.subspan(used));
    if (const auto* fault = socks::malformed(decoded)) {
      return fail(Code::protocol, "the peer breaks SOCKS6", {}, std::string(fault->what));
    }
    const auto* complete = socks::done(decoded);
    if (complete == nullptr) break;
    auto taken = on_message(complete->message);
    if (!taken) return taken;
    used += complete->consumed;
  }
  return {};
}

/// Hands on every whole message and removes it once the batch is dealt with: until then others view its bytes.
Result<> take_messages(Bytes& received, const bool& over, const std::function<Result<>(const socks6::UdpMessage&)>& on_message,
                       const std::function<void()>& on_batch) {
  std::size_t used = 0;
  auto taken = hand_on(received, used, over, on_message);
  on_batch();
  if (!taken) return taken;
  received.erase(received.begin(), received.begin() + static_cast<std::ptrdiff_t>(used));
  if (received.empty()) Bytes().swap(received);  // an idle association holds no buffer
  return {};
}

}  // namespace

net::Task<Result<>> read_udp_messages(net::Stream& stream, Bytes received, const bool& over,
                                      std::function<Result<>(const socks6::UdpMessage&)> on_message, std::function<void()> on_batch) {
  for (unsigned reads = 1;; ++reads) {
    auto taken = take_messages(received, over, on_message, on_batch);
    if (!taken || over) co_return taken;
    if (reads % reads_in_a_row == 0) co_await net::Yield{stream.loop()};
    for (;;) {
      if (over) co_return Result<>{};
      const auto scratch = stream.loop().scratch();
      const auto io = stream.read_some(scratch);
      if (io.state == net::Io::State::moved) {
        received.insert(received.end(), scratch.begin(), scratch.begin() + static_cast<std::ptrdiff_t>(io.bytes));
        break;
      }
      if (io.state == net::Io::State::failed) co_return fail(stream.error());
      if (io.state == net::Io::State::end) {
        if (!received.empty()) co_return fail(Code::truncated, "the peer left within a message");
        co_return Result<>{};
      }
      auto ready = co_await stream.readable();
      if (!ready) co_return ready;
    }
  }
}

std::optional<socks6::UdpErrorCode> udp_error_code(bool six, std::uint8_t type, std::uint8_t code) {
  using enum socks6::UdpErrorCode;
  if (six) {
    if (type == ICMP6_DST_UNREACH) return code == ICMP6_DST_UNREACH_NOROUTE ? network_unreachable : host_unreachable;
    if (type == ICMP6_PACKET_TOO_BIG) return too_big;
    if (type == ICMP6_TIME_EXCEEDED && code == ICMP6_TIME_EXCEED_TRANSIT) return ttl_expired;
    return std::nullopt;
  }
  if (type == ICMP_TIMXCEED && code == ICMP_TIMXCEED_INTRANS) return ttl_expired;
  if (type != ICMP_UNREACH || code == ICMP_UNREACH_NEEDFRAG) return std::nullopt;
  const bool network = code == ICMP_UNREACH_NET || code == ICMP_UNREACH_NET_UNKNOWN || code == ICMP_UNREACH_NET_PROHIB ||
                       code == ICMP_UNREACH_TOSNET;
  return network ? network_unreachable : host_unreachable;
}

}  // namespace epif::association
