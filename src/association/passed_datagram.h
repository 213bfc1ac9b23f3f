#pragma once
#include <functional>

#include "base/bytes.h"
#include "base/ip.h"

/// Datagrams of SOCKS6 clients that a proxy which has taken over passes on to the old process, where their associations live: many in one
/// message, each behind a head of its own. Pure.
namespace epif::association {

struct PassedDatagram {
  SocketAddress port;  ///< of the proxy, where it arrived
  SocketAddress from;
  IpAddress local;     ///< net::Packet::local
  ByteSpan payload;
};

/// What append() adds beside the payload.
inline constexpr std::size_t passed_head_bytes = 3 * 17 + 2 * 2 + 4;

void append(Bytes& to, const PassedDatagram& one);
/// Walks those of a message. False: a length or an address does not fit, and nothing behind it was seen.
[[nodiscard]] bool each_passed(ByteSpan message, const std::function<void(const PassedDatagram&)>& call);

}  // namespace epif::association
