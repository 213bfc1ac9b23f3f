#include "net/icmp_error.h"

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "net/tcp.h"

namespace epif::net {
namespace {

SocketAddress plain(SocketAddress address) {
  address.ip = address.ip.unmapped();
  return address;
}

std::optional<Code> of_version_4(std::uint8_t type, std::uint8_t code) {
  if (type == ICMP_TIMXCEED && code == ICMP_TIMXCEED_INTRANS) return Code::ttl_expired;
  if (type != ICMP_UNREACH || code == ICMP_UNREACH_NEEDFRAG) return std::nullopt;
  switch (code) {
    case ICMP_UNREACH_NET:
    case ICMP_UNREACH_NET_UNKNOWN:
    case ICMP_UNREACH_NET_PROHIB:
    case ICMP_UNREACH_TOSNET: return Code::net_unreachable;
    case ICMP_UNREACH_PROTOCOL:  // the host itself, as with a closed port (RFC 1122 section 4.2.3.9)
    case ICMP_UNREACH_PORT: return Code::refused;
    default: return Code::host_unreachable;
  }
}

std::optional<Code> of_version_6(std::uint8_t type, std::uint8_t code) {
  if (type == ICMP6_TIME_EXCEEDED && code == ICMP6_TIME_EXCEED_TRANSIT) return Code::ttl_expired;
  if (type != ICMP6_DST_UNREACH) return std::nullopt;
  switch (code) {
    case ICMP6_DST_UNREACH_NOROUTE: return Code::net_unreachable;
    case ICMP6_DST_UNREACH_NOPORT: return Code::refused;
    default: return Code::host_unreachable;
  }
}

}  // namespace

std::optional<IcmpError> next_icmp_error(int fd) {
  for (;;) {
    std::array<std::uint8_t, 1> ignored{};
    iovec part{ignored.data(), ignored.size()};
    sockaddr_storage destination{};
    alignas(cmsghdr) std::array<std::uint8_t, 512> control;
    msghdr header{};
    header.msg_name = &destination;
    header.msg_namelen = sizeof destination;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    if (::recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return std::nullopt;
    for (auto* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
      const bool ours = (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_RECVERR) ||
                        (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_RECVERR);
      if (!ours) continue;
      const auto met = read_icmp_error({CMSG_DATA(item), item->cmsg_len - CMSG_LEN(0)}, from_sockaddr(destination));
      if (met) return met;
    }
  }
}

std::optional<IcmpError> read_icmp_error(ByteSpan report, const SocketAddress& destination) {
  sock_extended_err head;
  if (report.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, report.data(), sizeof head);
  if (head.ee_origin != SO_EE_ORIGIN_ICMP && head.ee_origin != SO_EE_ORIGIN_ICMP6) return std::nullopt;
  sockaddr_storage offender{};
  const auto rest = report.subspan(sizeof head);
  std::memcpy(&offender, rest.data(), std::min(sizeof(sockaddr_in6), rest.size()));
  // A part of an address would be another one.
  const auto whole = offender.ss_family == AF_INET6 ? offsetof(sockaddr_in6, sin6_addr) + sizeof(in6_addr) : offsetof(sockaddr_in, sin_addr) + sizeof(in_addr);
  if (rest.size() < whole) offender = {};
  return IcmpError{plain(destination), plain(from_sockaddr(offender)).ip, head.ee_origin == SO_EE_ORIGIN_ICMP6, head.ee_type, head.ee_code};
}

std::optional<Code> ends_attempt(const IcmpError& met) {
  return met.six ? of_version_6(met.type, met.code) : of_version_4(met.type, met.code);
}

void keep_icmp_errors(int fd, bool on) {
  const int value = on ? 1 : 0;
  ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &value, sizeof value);
}

}  // namespace epif::net
