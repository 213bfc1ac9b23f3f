#pragma once
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/ip.h"

/// The TCP sockets of this network namespace, whoever holds them (inet_diag), and ending them from outside.
namespace epif::net {

struct TcpEntry {
  SocketAddress local;
  SocketAddress remote;
  bool listens = false;
  bool connecting = false;     ///< no answer yet, or no acknowledgement of ours
  std::uint64_t inode = 0;     ///< as in /proc/PID/fd; 0: its program has closed it
  std::uint64_t received = 0;  ///< payload bytes from the remote end (RFC 4898 tcpEStatsAppHCThruOctetsReceived)
  std::uint64_t acked = 0;     ///< payload bytes that the remote end has acknowledged
  std::uint64_t cookie = 0;    ///< tells this socket from a later one with the same addresses
};

/// As a cookie: whichever socket has these addresses now.
inline constexpr std::uint64_t any_cookie = ~std::uint64_t{0};

/// Every socket but those in TIME_WAIT. IPv4-mapped addresses are given as IPv4. Errors: io, unsupported.
[[nodiscard]] Result<std::vector<TcpEntry>> tcp_table();

/// Ends the socket as if the kernel had lost it: its program gets an error (ECONNABORTED), the remote end a reset. A socket
/// that is gone already is no error. Errors: unsupported (the kernel lacks INET_DIAG_DESTROY), permission, io.
[[nodiscard]] Result<> end_socket(const TcpEntry& entry);
/// Whether this kernel can end sockets from outside; asks it to end one that cannot exist.
[[nodiscard]] Result<> can_end_sockets();

}  // namespace epif::net
