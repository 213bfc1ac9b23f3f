#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/ip.h"
#include "base/limits.h"
#include "net/loop.h"

/// UDP relaying: a socket on a loop, and many datagrams for one system call. Addresses of IPv4 are plain here, never mapped.
namespace epif::net {

struct DatagramOptions {
  bool reuse_port = false;     ///< one socket a thread
  bool dual_stack = false;     ///< an IPv6 socket carries IPv4, too
  bool local_address = false;  ///< Packet::local is wanted: bound to all addresses, and answers must come from the one asked
  bool icmp_errors = false;    ///< next_icmp_error() of net/icmp_error.h is wanted
  std::optional<std::uint8_t> tos{};  ///< of both families, as ttl
  std::optional<std::uint8_t> ttl{};
  std::optional<bool> no_fragmentation{};
};

/// A bound UDP socket. Lives on one loop.
class DatagramSocket {
 public:
  /// Port 0 lets the kernel choose. Errors: address_in_use, permission, no_descriptors, unsupported (address family), io.
  [[nodiscard]] static Result<std::unique_ptr<DatagramSocket>> open(Loop& loop, const SocketAddress& at, const DatagramOptions& options);
  /// Takes over a socket that is bound already.
  DatagramSocket(Loop& loop, Fd fd);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool is_v6() const { return six_; }
  [[nodiscard]] SocketAddress address() const;
  [[nodiscard]] Interest& interest() { return interest_; }

 private:
  Fd fd_;
  bool six_;
  Interest interest_;
};

/// A bound socket without a loop, to hold a port. Errors as above.
[[nodiscard]] Result<Fd> bind_datagrams(const SocketAddress& at, const DatagramOptions& options);
/// Sets what may be set later, too: tos, ttl, no_fragmentation, icmp_errors.
void set_options(int fd, const DatagramOptions& options);
/// As new sockets are here, mostly: what is larger than the path takes goes in fragments. A socket whose packets say no_fragmentation
/// (PacketOptions) comes back to this.
void fragment_as_needed(int fd);
[[nodiscard]] std::optional<std::uint8_t> tos_in_force(int fd);
[[nodiscard]] std::optional<std::uint8_t> ttl_in_force(int fd);

/// Of sockets that share a port, datagram goes to number (first two bytes at `offset`) modulo `sockets`, in the order of
/// their binding. To be called for one of them, after all are bound.
[[nodiscard]] Result<> steer_by_number(int fd, std::uint32_t offset, std::uint32_t sockets);

struct Packet {
  SocketAddress from;
  IpAddress local;  ///< where it was sent to; only with local_address
  ByteSpan payload;
};

/// Reads batches. One for a thread, since it holds 1 MiB from its first use.
class PacketReader {
 public:
  /// What is there now, at most limits::udp_batch packets. Empty: nothing is, and the socket's next edge will tell. The views
  /// end with the next call.
  [[nodiscard]] std::span<const Packet> read(DatagramSocket& socket);

 private:
  static constexpr std::size_t packet_bytes = 65'536;
  struct Slot {
    iovec part;
    sockaddr_storage from;
    alignas(cmsghdr) std::array<std::uint8_t, 64> control;
  };
  void prepare();
  Bytes storage_;
  std::array<mmsghdr, limits::udp_batch> headers_;
  std::array<Slot, limits::udp_batch> slots_;
  std::array<Packet, limits::udp_batch> packets_;
};

/// How one packet leaves, where it is not as its socket has it.
struct PacketOptions {
  std::optional<IpAddress> from{};  ///< the local address that it comes from
  std::optional<std::uint8_t> tos{};
  std::optional<std::uint8_t> ttl{};
  bool no_fragmentation = false;
};

/// Collects packets and sends them with as few system calls as their sockets allow. What the kernel does not take at once is
/// dropped and counted. Payloads must live until flush().
class PacketSender {
 public:
  static constexpr std::size_t header_max_bytes = 288;

  /// Room for the next packet's header.
  [[nodiscard]] MutableByteSpan header() {
    if (count_ == limits::udp_batch) flush();
    return slots_[count_].header;
  }
  /// Adds a packet of the first `header_bytes` of header() and `payload`.
  void add(DatagramSocket& socket, const SocketAddress& to, std::size_t header_bytes, ByteSpan payload,
           const PacketOptions& options = {});
  void flush();

  struct Outcome {
    std::uint64_t sent = 0;
    std::uint64_t congested = 0;    ///< no room in the kernel
    std::uint64_t too_big = 0;      ///< for UDP, or for the path where fragments are not wanted
    std::uint64_t unreachable = 0;  ///< no way there, or the system forbids it
  };
  /// What happened since the last call.
  [[nodiscard]] Outcome take_outcome() { return std::exchange(outcome_, {}); }

 private:
  struct Slot {
    int fd;
    bool no_fragmentation;
    sockaddr_storage to;
    std::array<iovec, 2> parts;
    alignas(cmsghdr) std::array<std::uint8_t, 96> control;
    std::array<std::uint8_t, header_max_bytes> header;
  };
  void send_run(std::size_t first, std::size_t end);
  std::size_t count_ = 0;
  std::array<mmsghdr, limits::udp_batch> headers_;
  std::array<Slot, limits::udp_batch> slots_;
  Outcome outcome_;
};

/// co_await Yield{loop}: lets the other sockets of the loop have their turn.
struct Yield {
  Loop& loop;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) const { loop.resume_soon(waiter); }
  void await_resume() const noexcept {}
};

}  // namespace epif::net
