#pragma once
#include "base/bytes.h"
#include "socks/decoded.h"
#include "socks/target.h"
#include "socks/wire.h"

/// The messages of a SOCKS6 UDP association (draft-12 section 7.3): back to back in the TCP connection after the operation
/// reply, and alone in the packets of the proxy's UDP port.
namespace epif::socks6 {

enum class UdpType : std::uint8_t {
  init = 1,          ///< proxy to client, TCP: the association's number
  confirmation = 2,  ///< proxy to client, TCP: the first datagram fixed the client's path
  datagram = 3,      ///< both ways
  error = 4,         ///< proxy to client, only with the UDP Error option: what an ICMP message said
};

enum class UdpErrorCode : std::uint8_t {
  network_unreachable = 1,
  host_unreachable = 2,
  ttl_expired = 3,
  too_big = 4,  ///< IPv6 only
};

/// Views the caller's bytes.
struct UdpMessage {
  UdpType type = UdpType::datagram;
  std::uint64_t association = 0;
  socks::Target target{};  ///< datagram: destination from the client, source towards it; error: the destination it is about
  socks::View payload{};   ///< datagram
  UdpErrorCode error = UdpErrorCode::host_unreachable;
  IpAddress reporter{};    ///< error: who sent the ICMP message
  friend bool operator==(const UdpMessage&, const UdpMessage&) = default;
};

/// Reads the first message. Nothing is decided about its body before it is complete, so every split gives the same answer.
/// In a packet, NeedMore means that the message claims more than there is (to be dropped); bytes behind it are padding.
/// Names of -12 carry their padding in the length byte, so one plus that is a multiple of 4. Other lengths are of -11, which
/// may or may not have padded: such a name is taken only if what follows cannot be its padding. Fault::too_long is an
/// impossible message length, Fault::reserved an unknown type.
[[nodiscard]] socks::Decoded<UdpMessage> decode_udp_message(ByteSpan received);

inline constexpr std::size_t udp_common_bytes = 12;         ///< init and confirmation are nothing more
inline constexpr std::size_t udp_header_max_bytes = 12 + 4 + 256;
inline constexpr std::size_t udp_error_max_bytes = 12 + 4 + 16 + 4 + 16;

/// The encoders return the bytes written, 0 if `out` is too small or a field or the message is too long.
[[nodiscard]] std::size_t encode_udp_init(std::uint64_t association, MutableByteSpan out);
[[nodiscard]] std::size_t encode_udp_confirmation(std::uint64_t association, MutableByteSpan out);
/// The header of a datagram; `payload_bytes` follow it.
[[nodiscard]] std::size_t encode_udp_header(std::uint64_t association, const socks::Target& target, std::size_t payload_bytes,
                                            MutableByteSpan out);
[[nodiscard]] std::size_t encode_udp_error(std::uint64_t association, const SocketAddress& destination, UdpErrorCode code,
                                           const IpAddress& reporter, MutableByteSpan out);

}  // namespace epif::socks6
