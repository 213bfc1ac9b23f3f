#include "net/datagrams.h"

#include <linux/filter.h>
#include <netinet/ip.h>

#include <cassert>
#include <cerrno>
#include <cstring>

#include "net/tcp.h"

namespace epif::net {
namespace {

bool set_int(int fd, int level, int option, int value) { return ::setsockopt(fd, level, option, &value, sizeof value) == 0; }

int get_int(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  ::getsockopt(fd, level, option, &value, &size);
  return value;
}

bool socket_is_v6(int fd) { return get_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6; }

SocketAddress plain(const sockaddr_storage& storage) {
  auto address = from_sockaddr(storage);
  address.ip = address.ip.unmapped();
  return address;
}

IpAddress mapped(const IpAddress& four) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[10] = bytes[11] = 0xff;
  std::memcpy(&bytes[12], four.bytes().data(), 4);
  return IpAddress::v6(bytes);
}

/// As the socket's family writes it.
socklen_t write_address(const SocketAddress& address, bool six, sockaddr_storage& out) {
  if (six && address.ip.is_v4()) return to_sockaddr({mapped(address.ip), address.port}, out);
  return to_sockaddr(address, out);
}

IpAddress local_of(msghdr& header) {
  for (auto* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(part), sizeof info);
      return IpAddress::v4({reinterpret_cast<const std::uint8_t*>(&info.ipi_addr), 4});
    }
    if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(part), sizeof info);
      return IpAddress::v6({info.ipi6_addr.s6_addr, 16}).unmapped();
    }
  }
  return {};
}

/// Appends to what the header's control room holds already.
template <class Info>
void put_control(msghdr& header, std::span<std::uint8_t> room, int level, int type, const Info& info) {
  const std::size_t used = header.msg_controllen;
  assert(used + CMSG_SPACE(sizeof info) <= room.size());
  header.msg_control = room.data();
  header.msg_controllen = used + CMSG_SPACE(sizeof info);
  cmsghdr part{};
  part.cmsg_level = level;
  part.cmsg_type = type;
  part.cmsg_len = CMSG_LEN(sizeof info);
  std::memcpy(&room[used], &part, sizeof part);
  std::memcpy(&room[used + CMSG_LEN(0)], &info, sizeof info);
}

void put_source(msghdr& header, std::span<std::uint8_t> room, const IpAddress& from, bool six) {
  if (six) {
    in6_pktinfo info{};
    const auto address = from.is_v4() ? mapped(from) : from;
    std::memcpy(info.ipi6_addr.s6_addr, address.bytes().data(), 16);
    put_control(header, room, IPPROTO_IPV6, IPV6_PKTINFO, info);
  } else {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, from.bytes().data(), 4);
    put_control(header, room, IPPROTO_IP, IP_PKTINFO, info);
  }
}

/// `six`: of the destination. An IPv6 socket that sends to an IPv4 host wants these two as IPv4 has them.
void put_traffic(msghdr& header, std::span<std::uint8_t> room, const PacketOptions& options, bool six) {
  const int level = six ? IPPROTO_IPV6 : IPPROTO_IP;
  if (options.tos) put_control(header, room, level, six ? IPV6_TCLASS : IP_TOS, int{*options.tos});
  if (options.ttl) put_control(header, room, level, six ? IPV6_HOPLIMIT : IP_TTL, int{*options.ttl});
}

/// Linux knows no such wish of a single datagram: while this lives, its socket has it. Never set back to what it was before: two processes
/// may share the socket, and one would keep for ever what the other wished for a moment.
class Unfragmented {
 public:
  explicit Unfragmented(int fd) : fd_(fd) { set_no_fragmentation(fd, true); }
  ~Unfragmented() { fragment_as_needed(fd_); }
  Unfragmented(const Unfragmented&) = delete;
  Unfragmented& operator=(const Unfragmented&) = delete;

 private:
  int fd_;
};

}  // namespace

void set_options(int fd, const DatagramOptions& options) {
  const bool six = socket_is_v6(fd);
  // An IPv6 socket may carry IPv4: both are set, and the one that does not apply fails without harm.
  if (options.tos) {
    set_int(fd, IPPROTO_IP, IP_TOS, *options.tos);
    if (six) set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, *options.tos);
  }
  if (options.ttl) {
    set_int(fd, IPPROTO_IP, IP_TTL, *options.ttl);
    set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, *options.ttl);
    if (six) set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, *options.ttl);
    if (six) set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, *options.ttl);
  }
  if (options.no_fragmentation) set_no_fragmentation(fd, *options.no_fragmentation);
  if (options.icmp_errors) {
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    if (six) set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
  }
}

void fragment_as_needed(int fd) {
  // Of IPv4 sysctl net.ipv4.ip_no_pmtu_disc decides: a new socket tells.
  static const int usual = [] {
    const Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return any ? get_int(any.get(), IPPROTO_IP, IP_MTU_DISCOVER) : IP_PMTUDISC_WANT;
  }();
  set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, usual);
  if (!socket_is_v6(fd)) return;
  set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT);
  set_int(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 0);
}

std::optional<std::uint8_t> tos_in_force(int fd) {
  const bool six = socket_is_v6(fd);
  return static_cast<std::uint8_t>(six ? get_int(fd, IPPROTO_IPV6, IPV6_TCLASS) : get_int(fd, IPPROTO_IP, IP_TOS));
}

std::optional<std::uint8_t> ttl_in_force(int fd) {
  const bool six = socket_is_v6(fd);
  return static_cast<std::uint8_t>(six ? get_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS) : get_int(fd, IPPROTO_IP, IP_TTL));
}

Result<Fd> bind_datagrams(const SocketAddress& at, const DatagramOptions& options) {
  const bool six = at.ip.is_v6();
  Fd fd(::socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(system_error(errno, "cannot make a UDP socket", at.text()));
  if (six) set_int(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.dual_stack ? 0 : 1);
  if (options.reuse_port) set_int(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (options.local_address) {
    set_int(fd.get(), six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVPKTINFO : IP_PKTINFO, 1);
  }
  set_options(fd.get(), options);
  sockaddr_storage storage;
  const auto length = to_sockaddr(at, storage);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail(system_error(errno, "cannot bind a UDP port", at.text()));
  }
  return fd;
}

Result<std::unique_ptr<DatagramSocket>> DatagramSocket::open(Loop& loop, const SocketAddress& at, const DatagramOptions& options) {
  auto fd = bind_datagrams(at, options);
  if (!fd) return fail(std::move(fd.error()));
  return std::make_unique<DatagramSocket>(loop, std::move(*fd));
}

DatagramSocket::DatagramSocket(Loop& loop, Fd fd) : fd_(std::move(fd)), six_(socket_is_v6(fd_.get())), interest_(loop, fd_.get()) {}

SocketAddress DatagramSocket::address() const {
  auto address = local_address(fd());
  address.ip = address.ip.unmapped();
  return address;
}

Result<> steer_by_number(int fd, std::uint32_t offset, std::uint32_t sockets) {
  assert(sockets > 0);
  // A datagram too short for the load goes to the first socket, which drops it as malformed.
  sock_filter steps[] = {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offset), BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, sockets),
                         BPF_STMT(BPF_RET | BPF_A, 0)};
  const sock_fprog program{3, steps};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0) {
    return fail(system_error(errno, "cannot steer datagrams to threads"));
  }
  return {};
}

void PacketReader::prepare() {
  if (storage_.empty()) storage_.resize(limits::udp_batch * packet_bytes);
  for (std::size_t i = 0; i < limits::udp_batch; ++i) {
    auto& slot = slots_[i];
    slot.part = {&storage_[i * packet_bytes], packet_bytes};
    auto& header = headers_[i].msg_hdr;
    header = {};
    header.msg_name = &slot.from;
    header.msg_namelen = sizeof slot.from;
    header.msg_iov = &slot.part;
    header.msg_iovlen = 1;
    header.msg_control = slot.control.data();
    header.msg_controllen = slot.control.size();
  }
}

std::span<const Packet> PacketReader::read(DatagramSocket& socket) {
  prepare();
  int got = -1;
  // An error of an earlier datagram of ours (RFC 1122 4.1.3.3) is told once and takes nothing away.
  for (unsigned attempt = 0; got < 0 && attempt < limits::udp_batch; ++attempt) {
    got = ::recvmmsg(socket.fd(), headers_.data(), limits::udp_batch, MSG_DONTWAIT, nullptr);
    if (got < 0 && errno == EAGAIN) break;
  }
  if (got < static_cast<int>(limits::udp_batch)) socket.interest().drained_read();
  for (int i = 0; i < got; ++i) {
    const auto at = static_cast<std::size_t>(i);
    packets_[at] = {plain(slots_[at].from), local_of(headers_[at].msg_hdr),
                    {static_cast<const std::uint8_t*>(slots_[at].part.iov_base), headers_[at].msg_len}};
  }
  return {packets_.data(), static_cast<std::size_t>(std::max(got, 0))};
}

void PacketSender::add(DatagramSocket& socket, const SocketAddress& to, std::size_t header_bytes, ByteSpan payload,
                       const PacketOptions& options) {
  assert(header_bytes <= header_max_bytes);
  if (count_ == limits::udp_batch) flush();
  auto& slot = slots_[count_];
  slot.fd = socket.fd();
  slot.no_fragmentation = options.no_fragmentation;
  slot.parts = {iovec{slot.header.data(), header_bytes}, iovec{const_cast<std::uint8_t*>(payload.data()), payload.size()}};
  auto& header = headers_[count_].msg_hdr;
  header = {};
  if (to.ip.is_v6() && !socket.is_v6()) {
    ++outcome_.unreachable;
    return;
  }
  header.msg_name = &slot.to;
  header.msg_namelen = write_address(to, socket.is_v6(), slot.to);
  header.msg_iov = slot.parts.data();
  header.msg_iovlen = slot.parts.size();
  if (options.from) put_source(header, slot.control, *options.from, socket.is_v6());
  put_traffic(header, slot.control, options, to.ip.is_v6());
  ++count_;
}

void PacketSender::flush() {
  for (std::size_t first = 0; first < count_;) {
    auto end = first + 1;
    const auto& like = slots_[first];
    while (end < count_ && slots_[end].fd == like.fd && slots_[end].no_fragmentation == like.no_fragmentation) ++end;
    if (like.no_fragmentation) {
      const Unfragmented whole(like.fd);
      send_run(first, end);
    } else {
      send_run(first, end);
    }
    first = end;
  }
  count_ = 0;
}

void PacketSender::send_run(std::size_t first, std::size_t end) {
  bool again = true;  // an old ICMP error may stand in the way once
  while (first < end) {
    const int sent = ::sendmmsg(slots_[first].fd, &headers_[first], static_cast<unsigned>(end - first), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      outcome_.sent += static_cast<std::uint64_t>(sent);
      first += static_cast<std::size_t>(sent);
      again = true;
      continue;
    }
    if (again && (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH || errno == EINTR)) {
      again = false;
      continue;
    }
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
      ++outcome_.congested;
    } else if (errno == EMSGSIZE) {
      ++outcome_.too_big;
    } else {
      ++outcome_.unreachable;
    }
    ++first;
    again = true;
  }
}

}  // namespace epif::net
