#include "net/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>

#include "net/netlink.h"

namespace epif::net {
namespace {

constexpr std::uint16_t message_type(std::uint8_t message) {
  return static_cast<std::uint16_t>((NFNL_SUBSYS_CTNETLINK << 8) | message);
}

Bytes head(std::uint8_t family) {
  const nfgenmsg header{family, NFNETLINK_V0, 0};
  Bytes out(sizeof header);
  std::memcpy(out.data(), &header, sizeof header);
  return out;
}

struct Tuple {
  SocketAddress from;
  SocketAddress to;
};

std::optional<IpAddress> address(ByteSpan ip, std::uint16_t v4, std::uint16_t v6) {
  if (const auto four = find_attribute(ip, v4); four && four->size() == 4) return IpAddress::v4(*four);
  if (const auto six = find_attribute(ip, v6); six && six->size() == 16) return IpAddress::v6(*six);
  return {};
}

/// Nothing unless it is of TCP.
std::optional<Tuple> read_tuple(std::optional<ByteSpan> tuple) {
  if (!tuple) return {};
  const auto ip = find_attribute(*tuple, CTA_TUPLE_IP);
  const auto protocol = find_attribute(*tuple, CTA_TUPLE_PROTO);
  if (!ip || !protocol) return {};
  const auto number = find_attribute(*protocol, CTA_PROTO_NUM);
  if (!number || number->size() != 1 || number->front() != IPPROTO_TCP) return {};
  const auto from = address(*ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  const auto to = address(*ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
  const auto from_port = find_attribute(*protocol, CTA_PROTO_SRC_PORT);
  const auto to_port = find_attribute(*protocol, CTA_PROTO_DST_PORT);
  if (!from || !to || !from_port || !to_port || from_port->size() != 2 || to_port->size() != 2) return {};
  return Tuple{{*from, load_u16(from_port->data())}, {*to, load_u16(to_port->data())}};
}

std::optional<TrackedTcp> read_entry(ByteSpan body) {
  if (body.size() < sizeof(nfgenmsg)) return {};
  nfgenmsg header{};
  std::memcpy(&header, body.data(), sizeof header);
  const auto attributes = body.subspan(NLMSG_ALIGN(sizeof header));
  const auto original = read_tuple(find_attribute(attributes, CTA_TUPLE_ORIG));
  const auto reply = read_tuple(find_attribute(attributes, CTA_TUPLE_REPLY));
  if (!original || !reply) return {};
  TrackedTcp entry{original->from, original->to, reply->from, {}, header.nfgen_family};
  const auto keep = [&](std::uint16_t type, std::uint16_t flags) {
    if (const auto value = find_attribute(attributes, type))
      put_attribute(entry.identity, static_cast<std::uint16_t>(type | flags), *value);
  };
  keep(CTA_TUPLE_ORIG, NLA_F_NESTED);
  keep(CTA_ZONE, 0);
  keep(CTA_ID, 0);
  return entry;
}

}  // namespace

Result<std::vector<TrackedTcp>> tracked_tcp() {
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return fail(netlink.error());
  std::vector<TrackedTcp> entries;
  auto asked = netlink->ask(message_type(IPCTNL_MSG_CT_GET), NLM_F_DUMP, head(AF_UNSPEC), [&](ByteSpan body) {
    if (auto entry = read_entry(body)) entries.push_back(std::move(*entry));
  });
  if (!asked) return fail(asked.error());
  return entries;
}

Result<> forget(const TrackedTcp& connection) {
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return fail(netlink.error());
  auto body = head(connection.family);
  body.insert(body.end(), connection.identity.begin(), connection.identity.end());
  auto done = netlink->ask(message_type(IPCTNL_MSG_CT_DELETE), NLM_F_ACK, body);
  if (!done && done.error().code == Code::not_found) return {};
  return done;
}

}  // namespace epif::net
