#include "leak/rtnetlink.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "base/limits.h"

namespace epif::leak {
namespace {

/// A netlink request: header, family header, attributes, nested ones included.
class Request {
 public:
  template <class Head>
  Request(std::uint16_t type, std::uint16_t flags, const Head& head) {
    nlmsghdr message{};
    message.nlmsg_type = type;
    message.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    put(&message, sizeof message);
    put(&head, sizeof head);
  }

  void attribute(std::uint16_t type, const void* data, std::size_t size) {
    const auto at = open(type);
    put(data, size);
    close(at);
  }
  void text(std::uint16_t type, std::string_view value) {
    const auto at = open(type);
    put(value.data(), value.size());
    bytes_.push_back(0);
    close(at);
  }
  [[nodiscard]] std::size_t open(std::uint16_t type) {
    align();
    const auto at = bytes_.size();
    const rtattr head{0, type};
    put(&head, sizeof head);
    return at;
  }
  void close(std::size_t at) {
    const auto length = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(&bytes_[at], &length, sizeof length);
    align();
  }
  template <class Head>
  void raw(const Head& head) {
    put(&head, sizeof head);
  }

  [[nodiscard]] Result<> send(std::string_view what, std::string_view device) {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);
    const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket || ::send(socket.get(), bytes_.data(), bytes_.size(), 0) < 0) {
      return fail(system_error(errno, std::string(what), std::string(device)));
    }
    std::array<std::uint8_t, 4096> answer{};
    const auto got = ::recv(socket.get(), answer.data(), answer.size(), 0);
    if (got < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(int))) return fail(Code::io, std::string(what), std::string(device), "no answer");
    int error = 0;
    std::memcpy(&error, &answer[sizeof(nlmsghdr)], sizeof error);
    if (error != 0) return fail(system_error(-error, std::string(what), std::string(device)));
    return {};
  }

 private:
  void put(const void* data, std::size_t size) {
    const auto at = bytes_.size();
    bytes_.resize(at + size);
    if (size != 0) std::memcpy(&bytes_[at], data, size);
  }
  void align() { bytes_.resize((bytes_.size() + 3) / 4 * 4); }
  Bytes bytes_;
};

}  // namespace

Result<> add_veth(std::string_view name, const Fd& other) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  request.text(IFLA_IFNAME, name);
  const auto info = request.open(IFLA_LINKINFO);
  request.text(IFLA_INFO_KIND, "veth");
  const auto data = request.open(IFLA_INFO_DATA);
  const auto peer = request.open(VETH_INFO_PEER);
  request.raw(ifinfomsg{});
  request.text(IFLA_IFNAME, name);
  const auto space = static_cast<std::uint32_t>(other.get());
  request.attribute(IFLA_NET_NS_FD, &space, sizeof space);
  request.close(peer);
  request.close(data);
  request.close(info);
  return request.send("cannot make a link", name);
}

Result<> delete_link(std::string_view name) {
  Request request(RTM_DELLINK, 0, ifinfomsg{});
  request.text(IFLA_IFNAME, name);
  return request.send("cannot remove the link", name);
}

Result<> set_up(std::string_view name) {
  ifinfomsg head{};
  head.ifi_flags = IFF_UP;
  head.ifi_change = IFF_UP;
  Request request(RTM_NEWLINK, 0, head);
  request.text(IFLA_IFNAME, name);
  return request.send("cannot set the link up", name);
}

Result<> wait_until_running(std::string_view name) {
  constexpr int look_ms = 2;
  const Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limits::leak_moment_ms);
  while (std::chrono::steady_clock::now() < deadline) {
    if (::ioctl(any.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING) != 0) return {};
    ::poll(nullptr, 0, look_ms);
  }
  return fail(Code::timeout, "the link does not come up", std::string(name));
}

Result<> add_address(std::string_view name, const IpAddress& address, std::uint8_t prefix) {
  ifaddrmsg head{};
  head.ifa_family = address.is_v6() ? AF_INET6 : AF_INET;
  head.ifa_prefixlen = prefix;
  head.ifa_flags = IFA_F_NODAD;
  head.ifa_index = ::if_nametoindex(std::string(name).c_str());
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, head);
  const auto bytes = address.bytes();
  request.attribute(IFA_LOCAL, bytes.data(), bytes.size());
  request.attribute(IFA_ADDRESS, bytes.data(), bytes.size());
  return request.send("cannot give the link an address", name);
}

Result<> add_route(std::string_view name, const Cidr& block, const IpAddress& gate, std::uint32_t metric) {
  rtmsg head{};
  head.rtm_family = block.address.is_v6() ? AF_INET6 : AF_INET;
  head.rtm_dst_len = block.prefix;
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = RT_SCOPE_UNIVERSE;
  head.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, head);
  const std::uint32_t device = ::if_nametoindex(std::string(name).c_str());
  request.attribute(RTA_DST, block.address.bytes().data(), block.address.bytes().size());
  request.attribute(RTA_GATEWAY, gate.bytes().data(), gate.bytes().size());
  request.attribute(RTA_OIF, &device, sizeof device);
  request.attribute(RTA_PRIORITY, &metric, sizeof metric);
  return request.send("cannot make a second way", name);
}

}  // namespace epif::leak
