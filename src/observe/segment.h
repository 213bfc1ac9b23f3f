#pragma once
#include <optional>

#include "base/bytes.h"
#include "base/ip.h"

namespace epif::observe {

/// What the observer needs of one packet.
struct Segment {
  enum class Kind { tcp_begin, tcp_accept, tcp_data, tcp_end, datagram };
  Kind kind = Kind::datagram;
  SocketAddress from;
  SocketAddress to;
  std::uint32_t sequence = 0;  ///< of TCP: of the flag that counts (SYN, FIN or RST)
  std::uint32_t bytes = 0;     ///< of a datagram: its length
  ByteSpan payload{};          ///< of a datagram and of TCP, as far as captured; views the packet
};
/// From the IP header on, past extension headers of IPv6; nothing for other packets, fragments and what breaks the format. Pure.
[[nodiscard]] std::optional<Segment> read_segment(ByteSpan packet);

}  // namespace epif::observe
