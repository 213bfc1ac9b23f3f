#include "net/tcp_table.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstring>
#include <span>

#include "net/netlink.h"

namespace epif::net {
namespace {

// enum of net/tcp_states.h, which is not among the headers for programs
constexpr std::uint8_t state_syn_sent = 2;
constexpr std::uint8_t state_syn_received = 3;
constexpr std::uint8_t state_time_wait = 6;
constexpr std::uint8_t state_listen = 10;
constexpr std::uint32_t all_states = 0xfff & ~(1u << state_time_wait);

IpAddress address_of(std::uint8_t family, const __be32 (&words)[4]) {
  std::array<std::uint8_t, 16> raw;
  std::memcpy(raw.data(), words, raw.size());
  return family == AF_INET6 ? IpAddress::v6(raw).unmapped() : IpAddress::v4(std::span(raw).first(4));
}

TcpEntry read_entry(ByteSpan body) {
  inet_diag_msg message{};
  std::memcpy(&message, body.data(), sizeof message);
  TcpEntry entry;
  entry.local = {address_of(message.idiag_family, message.id.idiag_src), ntohs(message.id.idiag_sport)};
  entry.remote = {address_of(message.idiag_family, message.id.idiag_dst), ntohs(message.id.idiag_dport)};
  entry.listens = message.idiag_state == state_listen;
  entry.connecting = message.idiag_state == state_syn_sent || message.idiag_state == state_syn_received;
  entry.inode = message.idiag_inode;
  entry.cookie = (std::uint64_t{message.id.idiag_cookie[1]} << 32) | message.id.idiag_cookie[0];
  const auto info = find_attribute(body.subspan(NLMSG_ALIGN(sizeof message)), INET_DIAG_INFO);
  if (info && info->size() >= offsetof(tcp_info, tcpi_bytes_received) + sizeof(std::uint64_t)) {
    std::memcpy(&entry.acked, info->data() + offsetof(tcp_info, tcpi_bytes_acked), sizeof entry.acked);
    std::memcpy(&entry.received, info->data() + offsetof(tcp_info, tcpi_bytes_received), sizeof entry.received);
  }
  return entry;
}

ByteSpan bytes_of(const inet_diag_req_v2& request) {
  return {reinterpret_cast<const std::uint8_t*>(&request), sizeof request};
}

void put(const IpAddress& address, bool as_v6, __be32 (&words)[4]) {
  std::array<std::uint8_t, 16> raw{};
  if (as_v6 && address.is_v4()) {
    raw[10] = raw[11] = 0xff;
    std::memcpy(raw.data() + 12, address.bytes().data(), 4);
  } else {
    std::memcpy(raw.data(), address.bytes().data(), address.bytes().size());
  }
  std::memcpy(words, raw.data(), raw.size());
}

Result<> end_one(Netlink& netlink, const TcpEntry& entry, bool as_v6) {
  inet_diag_req_v2 request{};
  request.sdiag_family = as_v6 ? AF_INET6 : AF_INET;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = all_states;
  put(entry.local.ip, as_v6, request.id.idiag_src);
  put(entry.remote.ip, as_v6, request.id.idiag_dst);
  request.id.idiag_sport = htons(entry.local.port);
  request.id.idiag_dport = htons(entry.remote.port);
  request.id.idiag_cookie[0] = static_cast<std::uint32_t>(entry.cookie);
  request.id.idiag_cookie[1] = static_cast<std::uint32_t>(entry.cookie >> 32);
  return netlink.ask(SOCK_DESTROY, NLM_F_ACK, bytes_of(request));
}

}  // namespace

Result<std::vector<TcpEntry>> tcp_table() {
  auto netlink = Netlink::open(NETLINK_SOCK_DIAG);
  if (!netlink) return fail(netlink.error());
  std::vector<TcpEntry> entries;
  for (const std::uint8_t family : {AF_INET, AF_INET6}) {
    inet_diag_req_v2 request{};
    request.sdiag_family = family;
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = all_states;
    request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
    auto asked = netlink->ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, bytes_of(request), [&](ByteSpan body) {
      if (body.size() >= sizeof(inet_diag_msg)) entries.push_back(read_entry(body));
    });
    if (!asked) return fail(asked.error());
  }
  return entries;
}

Result<> end_socket(const TcpEntry& entry) {
  auto netlink = Netlink::open(NETLINK_SOCK_DIAG);
  if (!netlink) return fail(netlink.error());
  const bool six = entry.local.ip.is_v6();
  auto ended = end_one(*netlink, entry, six);
  // An IPv4 connection of a socket of both families is in the table of IPv6.
  if (!ended && ended.error().code == Code::not_found && !six) ended = end_one(*netlink, entry, true);
  if (!ended && ended.error().code == Code::not_found) return {};
  return ended;
}

Result<> can_end_sockets() {
  TcpEntry nobody;
  nobody.local = {IpAddress::v4(std::array<std::uint8_t, 4>{127, 0, 0, 1}), 1};
  nobody.remote = nobody.local;
  nobody.cookie = 1;  // the kernel counts cookies up from its start and gives this one to no socket of two equal ends
  auto ended = end_socket(nobody);
  if (!ended && ended.error().code == Code::unsupported) {
    return fail(Code::unsupported, "this kernel cannot end sockets from outside", {},
                "it was built without INET_DIAG_DESTROY");
  }
  return ended;
}

}  // namespace epif::net
