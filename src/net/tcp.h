#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/ip.h"
#include "net/cancel.h"
#include "net/stream.h"

struct sockaddr_storage;

namespace epif::net {

/// Socket options of a connection to be made. Absent means the system's default.
struct ConnectOptions {
  bool fast_open = false;              ///< the first bytes may travel in the SYN (RFC 7413)
  bool speaks_at_once = false;         ///< bytes follow as soon as it stands: they take the handshake's last acknowledgement along
  std::optional<std::uint32_t> mark{}; ///< SO_MARK: the redirector's own traffic
  std::optional<std::uint8_t> tos{};
  std::optional<std::uint8_t> ttl{};
  std::optional<bool> no_fragmentation{};  ///< true: the path's MTU is obeyed, DF set on IPv4; false: fragments allowed
  bool multipath = false;              ///< MPTCP where the kernel has it, else TCP
  std::optional<SocketAddress> source{}; ///< bound with IP_BIND_ADDRESS_NO_PORT
  Cancel* cancel = nullptr;              ///< may end the attempt
  bool icmp_errors = false;              ///< tells failures on the way apart in IPv6, too; see keep_icmp_errors()
};

/// A connection and how many bytes of the first data it has already taken.
struct Connected {
  std::unique_ptr<SocketStream> stream;
  std::size_t sent = 0;
  bool fast_open = false;  ///< the SYN took data along, or asked for the cookie that lets the next one do so
};

/// Connects. `first` goes with the SYN if options.fast_open, otherwise nothing of it is sent here. Without `first`, but with
/// options.speaks_at_once, the SYN may wait for what is written first and take it along: then this returns before it has left, the
/// stream has no peer yet, and what would fail here fails at the first read. Not for MPTCP. Errors: refused,
/// net_unreachable, host_unreachable, ttl_expired, timeout, no_descriptors, address_in_use (ports ran out), permission, io.
[[nodiscard]] Task<Result<Connected>> connect(Loop& loop, SocketAddress to, ConnectOptions options, ByteSpan first,
                                              TimePoint deadline);

/// Waits until a connection whose SYN has left stands. Data in the SYN makes connect() return earlier. Errors as of connect().
[[nodiscard]] Task<Result<>> until_established(SocketStream& stream, SocketAddress to, bool multipath, TimePoint deadline);

struct ListenOptions {
  bool reuse_port = false;   ///< one listener a thread
  bool fast_open = false;
  bool transparent = false;  ///< accepts for foreign addresses (tproxy)
  bool dual_stack = false;   ///< an IPv6 listener takes IPv4, too
  bool multipath = false;    ///< accepts MPTCP where the kernel has it
  std::string device{};      ///< what arrives there alone; empty: anywhere
  int backlog = 4096;
};
/// A listening socket; IPv6 ones take IPv6 only. Errors: address_in_use (names the address), permission, io.
[[nodiscard]] Result<Fd> listen(SocketAddress at, const ListenOptions& options);

/// Accepts until its destruction. Backs off at EMFILE without spinning and without losing what runs.
class Acceptor {
 public:
  using OnConnection = std::function<void(Fd connection, SocketAddress peer)>;
  Acceptor(Loop& loop, Fd listener, OnConnection on_connection);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  [[nodiscard]] SocketAddress address() const;      ///< where it listens (the chosen port, if 0 was asked)
  [[nodiscard]] std::uint64_t backed_off() const;   ///< times that accept paused for want of descriptors

 private:
  struct State;
  static Task<void> run(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

/// IP_MTU_DISCOVER of either family: never fragment, or let fragment. And whether it is enforced now.
void set_no_fragmentation(int fd, bool never);
[[nodiscard]] bool never_fragments(int fd);
/// For a listener whose connections come over loopback: Reno, which nothing there slows, whatever the node's default is. One that
/// paces (BBR) costs a sixth of the rate where no link asks for it, and would go on pacing in a connection that stands already.
void stay_unpaced(int listener);
/// For a connection of such a listener that did come over a link: the node's default.
void pace_as_node(int fd);
/// True if the connection speaks MPTCP with its peer; of a listener, if it would.
[[nodiscard]] bool speaks_multipath(int fd);
/// Over how many paths (subflows) an MPTCP connection runs now; 0: it speaks TCP.
[[nodiscard]] unsigned multipath_paths(int fd);

[[nodiscard]] SocketAddress local_address(int fd);
[[nodiscard]] SocketAddress peer_address(int fd);
/// Where a redirected connection wanted to go (SO_ORIGINAL_DST, both families); `local` is its local_address(). Errors: not_found
/// if it was not redirected.
[[nodiscard]] Result<SocketAddress> original_destination(int fd, const SocketAddress& local);

/// The address that the kernel gives a socket of this node towards `destination`. Errors: net_unreachable, io.
[[nodiscard]] Result<IpAddress> source_towards(const SocketAddress& destination);

/// Conversions for system calls; `to_sockaddr` returns the length.
[[nodiscard]] unsigned to_sockaddr(const SocketAddress& address, sockaddr_storage& out);
[[nodiscard]] SocketAddress from_sockaddr(const sockaddr_storage& in);

}  // namespace epif::net
