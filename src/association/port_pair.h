#pragma once
#include <functional>

#include "base/fd.h"
#include "base/ip.h"
#include "socks/stack_option.h"

namespace epif::association {

/// Binds a datagram socket. Errors as of net::bind_datagrams().
using Bind = std::function<Result<Fd>(const SocketAddress& at)>;

/// At the port of `at`; an address of none means both families, or IPv4 alone on a system without IPv6.
[[nodiscard]] Result<Fd> bind_either_family(const SocketAddress& at, const Bind& bind);

/// A port as a client wished for it (Port Parity option, draft-12 section 7.1.9), as far as that could be had.
struct PortPair {
  Fd socket;
  Fd counterpart{};  ///< even p: p + 1, odd p: p - 1; none if it is not wished for, or could not be had
};
[[nodiscard]] bool has_parity(std::uint16_t port, std::uint8_t parity);
/// At a free port of `ip`, which is as in bind_either_family(). Of the ports that were tried it is the first that meets the wish
/// whole, else one of the wished parity, else any. Errors: no port is free; those of `bind`.
[[nodiscard]] Result<PortPair> bind_with_parity(const IpAddress& ip, const socks6::PortParity& wish, const Bind& bind);

}  // namespace epif::association
