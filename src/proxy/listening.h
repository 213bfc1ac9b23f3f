#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"

namespace epif::proxy {

/// One socket on which a proxy waits for clients, as it is handed to a new process.
struct Listening {
  enum class Kind { clear, tls, datagrams };
  Kind kind = Kind::clear;
  SocketAddress address;
  std::uint16_t index = 0;  ///< of the thread; datagrams are steered by it
  Fd socket{};
};

/// "clear 127.0.0.1:1080 0": what goes beside the descriptor. Pure.
[[nodiscard]] std::string print_listening(const Listening& listening);
/// The inverse, without the socket. Errors: protocol.
[[nodiscard]] Result<Listening> parse_listening(std::string_view text);

}  // namespace epif::proxy
