#pragma once
#include <functional>

#include "net/stream.h"
#include "socks/socks6_udp.h"

namespace epif::association {

/// Reads the messages of a SOCKS6 UDP association from its TCP connection, beginning with what was `received` already, until
/// an orderly end (success), a failure, or an error of `on_message`. `on_batch` follows each read; messages' views end with it. Once `over` is set and the
/// stream's reader nudged, it ends with success. Errors: protocol, truncated, the stream's.
[[nodiscard]] net::Task<Result<>> read_udp_messages(net::Stream& stream, Bytes received, const bool& over,
                                                    std::function<Result<>(const socks6::UdpMessage&)> on_message,
                                                    std::function<void()> on_batch);

/// How an ICMP message is told (draft-12 section 7.3.3): the code by family, type and code; nothing if it has no place there.
[[nodiscard]] std::optional<socks6::UdpErrorCode> udp_error_code(bool six, std::uint8_t type, std::uint8_t code);

}  // namespace epif::association
