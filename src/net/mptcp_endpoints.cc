#include "net/mptcp_endpoints.h"

#include <linux/genetlink.h>
#include <linux/mptcp.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/fd.h"
#include "net/netlink.h"

namespace epif::net {
namespace {

constexpr std::uint16_t nested = NLA_F_NESTED;

template <class T>
void put(Bytes& to, std::uint16_t type, const T& value) {
  std::array<std::uint8_t, sizeof value> raw;
  std::memcpy(raw.data(), &value, sizeof value);
  put_attribute(to, type, raw);
}

template <class T>
T take(ByteSpan attributes, std::uint16_t type) {
  T value{};
  const auto found = find_attribute(attributes, type);
  if (found && found->size() >= sizeof value) std::memcpy(&value, found->data(), sizeof value);
  return value;
}

Bytes message(std::uint8_t command, std::uint8_t version, ByteSpan attributes = {}) {
  const genlmsghdr header{command, version, 0};
  Bytes out(GENL_HDRLEN);
  std::memcpy(out.data(), &header, sizeof header);
  out.insert(out.end(), attributes.begin(), attributes.end());
  return out;
}

/// A connection to the path manager.
struct Manager {
  Netlink netlink;
  std::uint16_t family;

  static Result<Manager> open() {
    auto netlink = Netlink::open(NETLINK_GENERIC);
    if (!netlink) return epif::fail(std::move(netlink.error()));
    Bytes name;
    put_attribute(name, CTRL_ATTR_FAMILY_NAME, {reinterpret_cast<const std::uint8_t*>(MPTCP_PM_NAME), sizeof MPTCP_PM_NAME});
    std::uint16_t family = 0;
    auto asked = netlink->ask(GENL_ID_CTRL, 0, message(CTRL_CMD_GETFAMILY, 1, name), [&](ByteSpan answer) {
      if (answer.size() > GENL_HDRLEN) family = take<std::uint16_t>(answer.subspan(GENL_HDRLEN), CTRL_ATTR_FAMILY_ID);
    });
    if (!asked || family == 0) {
      if (!asked && asked.error().code != Code::not_found) return epif::fail(std::move(asked.error()));
      return epif::fail(Code::unsupported, "this kernel has no MPTCP");
    }
    return Manager{std::move(*netlink), family};
  }
  Result<> ask(std::uint16_t flags, std::uint8_t command, ByteSpan attributes = {}, const std::function<void(ByteSpan)>& each = {}) {
    return netlink.ask(family, flags, message(command, MPTCP_PM_VER, attributes), [&](ByteSpan answer) {
      if (each && answer.size() >= GENL_HDRLEN) each(answer.subspan(GENL_HDRLEN));
    });
  }
};

MptcpEndpoint read(ByteSpan fields) {
  MptcpEndpoint out;
  if (const auto four = find_attribute(fields, MPTCP_PM_ADDR_ATTR_ADDR4); four && four->size() == 4) out.address = IpAddress::v4(four->first<4>());
  if (const auto six = find_attribute(fields, MPTCP_PM_ADDR_ATTR_ADDR6); six && six->size() == 16) out.address = IpAddress::v6(six->first<16>());
  const auto flags = take<std::uint32_t>(fields, MPTCP_PM_ADDR_ATTR_FLAGS);
  out.device = take<std::uint32_t>(fields, MPTCP_PM_ADDR_ATTR_IF_IDX);
  out.id = take<std::uint8_t>(fields, MPTCP_PM_ADDR_ATTR_ID);
  out.connects = (flags & MPTCP_PM_ADDR_FLAG_SUBFLOW) != 0;
  out.announced = (flags & MPTCP_PM_ADDR_FLAG_SIGNAL) != 0;
  return out;
}

Result<> change(std::uint8_t command, ByteSpan attributes) {
  auto manager = Manager::open();
  if (!manager) return fail(std::move(manager.error()));
  return manager->ask(NLM_F_ACK, command, attributes);
}

}  // namespace

Result<std::vector<MptcpEndpoint>> mptcp_endpoints() {
  auto manager = Manager::open();
  if (!manager) return fail(std::move(manager.error()));
  std::vector<MptcpEndpoint> found;
  auto asked = manager->ask(NLM_F_DUMP, MPTCP_PM_CMD_GET_ADDR, {}, [&](ByteSpan answer) {
    const auto fields = find_attribute(answer, MPTCP_PM_ATTR_ADDR);
    if (!fields) return;
    auto one = read(*fields);
    std::erase_if(found, [&](const auto& known) { return known.id == one.id; });  // a dump that was asked for again
    found.push_back(one);
  });
  if (!asked) return fail(std::move(asked.error()));
  return found;
}

Result<> add_mptcp_endpoint(const MptcpEndpoint& endpoint) {
  Bytes fields;
  const bool six = endpoint.address.is_v6();
  std::uint32_t flags = 0;
  if (endpoint.connects) flags |= MPTCP_PM_ADDR_FLAG_SUBFLOW | MPTCP_PM_ADDR_FLAG_FULLMESH;
  if (endpoint.announced) flags |= MPTCP_PM_ADDR_FLAG_SIGNAL;
  put<std::uint16_t>(fields, MPTCP_PM_ADDR_ATTR_FAMILY, six ? AF_INET6 : AF_INET);
  if (endpoint.id != 0) put<std::uint8_t>(fields, MPTCP_PM_ADDR_ATTR_ID, endpoint.id);
  put_attribute(fields, six ? MPTCP_PM_ADDR_ATTR_ADDR6 : MPTCP_PM_ADDR_ATTR_ADDR4, endpoint.address.bytes());
  put<std::uint32_t>(fields, MPTCP_PM_ADDR_ATTR_FLAGS, flags);
  if (endpoint.device != 0) put<std::uint32_t>(fields, MPTCP_PM_ADDR_ATTR_IF_IDX, endpoint.device);
  Bytes request;
  put_attribute(request, MPTCP_PM_ATTR_ADDR | nested, fields);
  auto done = change(MPTCP_PM_CMD_ADD_ADDR, request);
  if (!done) done.error().where = endpoint.address.text();
  return done;
}

Result<> remove_mptcp_endpoint(std::uint8_t id) {
  Bytes fields;
  put<std::uint8_t>(fields, MPTCP_PM_ADDR_ATTR_ID, id);
  Bytes request;
  put_attribute(request, MPTCP_PM_ATTR_ADDR | nested, fields);
  auto known = mptcp_endpoints();
  if (!known) return fail(std::move(known.error()));
  if (std::ranges::find(*known, id, &MptcpEndpoint::id) == known->end()) return {};
  return change(MPTCP_PM_CMD_DEL_ADDR, request);
}

Result<MptcpLimits> mptcp_limits() {
  auto manager = Manager::open();
  if (!manager) return fail(std::move(manager.error()));
  MptcpLimits found;
  auto asked = manager->ask(0, MPTCP_PM_CMD_GET_LIMITS, {}, [&](ByteSpan answer) {
    found.accepted_addresses = take<std::uint32_t>(answer, MPTCP_PM_ATTR_RCV_ADD_ADDRS);
    found.subflows = take<std::uint32_t>(answer, MPTCP_PM_ATTR_SUBFLOWS);
  });
  if (!asked) return fail(std::move(asked.error()));
  return found;
}

Result<> set_mptcp_limits(const MptcpLimits& limits) {
  Bytes request;
  put<std::uint32_t>(request, MPTCP_PM_ATTR_RCV_ADD_ADDRS, limits.accepted_addresses);
  put<std::uint32_t>(request, MPTCP_PM_ATTR_SUBFLOWS, limits.subflows);
  return change(MPTCP_PM_CMD_SET_LIMITS, request);
}

bool has_mptcp() {
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
  return static_cast<bool>(probe);
}

}  // namespace epif::net
