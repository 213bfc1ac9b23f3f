#include "net/links.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "net/netlink.h"
#include "net/task.h"
#include "net/tcp.h"

namespace epif::net {
namespace {

bool is_loopback(int any_socket, const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return ioctl(any_socket, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_LOOPBACK) != 0;
}

}  // namespace

Result<std::vector<Link>> links() {
  const Fd any_socket(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> list(if_nameindex(), if_freenameindex);
  if (!any_socket || !list) return fail(system_error(errno, "cannot list the network devices"));
  std::vector<Link> found;
  for (auto* entry = list.get(); entry->if_index != 0; ++entry) {
    if (!is_loopback(any_socket.get(), entry->if_name)) found.push_back({entry->if_name, entry->if_index});
  }
  std::ranges::sort(found);
  return found;
}

Result<std::vector<NodeAddress>> node_addresses() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return fail(system_error(errno, "cannot list the node's addresses"));
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(first, ::freeifaddrs);
  std::vector<NodeAddress> found;
  constexpr unsigned working = IFF_UP | IFF_RUNNING;
  for (const auto* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    sockaddr_storage storage{};
    const auto family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    std::memcpy(&storage, entry->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const auto ip = from_sockaddr(storage).ip;
    const auto bytes = ip.bytes();
    const bool link_local = ip.is_v6() ? bytes[0] == 0xFE && (bytes[1] & 0xC0) == 0x80 : bytes[0] == 169 && bytes[1] == 254;
    if (!link_local && !ip.is_loopback()) found.push_back({ip, ::if_nametoindex(entry->ifa_name), (entry->ifa_flags & working) == working});
  }
  std::ranges::sort(found);
  return found;
}

namespace {

std::uint32_t groups(LinkWatch::Of of) {
  switch (of) {
    case LinkWatch::Of::devices: return RTMGRP_LINK;
    case LinkWatch::Of::addresses: return RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    case LinkWatch::Of::new_routes: return RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  }
  return 0;
}

/// True if one of the messages is of a new route by which packets leave, or are kept from leaving.
bool leads_anew(ByteSpan messages) {
  bool found = false;
  const bool fits = each_message(messages, [&](const NetlinkMessage& message) {
    rtmsg route{};
    if (message.type != RTM_NEWROUTE || message.body.size() < sizeof route) return true;
    std::memcpy(&route, message.body.data(), sizeof route);
    found = route.rtm_type != RTN_LOCAL && route.rtm_type != RTN_BROADCAST && route.rtm_type != RTN_ANYCAST &&
            route.rtm_type != RTN_MULTICAST;
    return !found;
  });
  return fits && found;
}

}  // namespace

struct LinkWatch::State {
  State(Loop& loop, Fd netlink, OnChange callback, Of what)
      : socket(std::move(netlink)), interest(loop, socket.get()), on_change(std::move(callback)), of(what) {}
  Fd socket;
  Interest interest;
  OnChange on_change;
  Of of;

  static Task<void> run(std::shared_ptr<State> state) {
    for (;;) {
      auto ready = co_await state->interest.readable();
      if (!ready) co_return;
      // Of devices and addresses it does not matter what the messages say: the owner looks at all again. A lost message (ENOBUFS) is a change.
      bool changed = false;
      for (;;) {
        const auto room = state->interest.loop().scratch();
        const auto got = recv(state->socket.get(), room.data(), room.size(), MSG_DONTWAIT);
        if (got < 0 && errno != ENOBUFS) break;
        changed = changed || got < 0 || state->of != Of::new_routes || leads_anew(ByteSpan(room).first(static_cast<std::size_t>(got)));
      }
      state->interest.drained_read();
      if (changed && state->on_change) state->on_change();
    }
  }
};

Result<std::unique_ptr<LinkWatch>> LinkWatch::start(Loop& loop, OnChange on_change, Of of) {
  Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups(of);
  sockaddr generic{};
  static_assert(sizeof address <= sizeof generic);
  std::memcpy(&generic, &address, sizeof address);
  if (!netlink || bind(netlink.get(), &generic, sizeof address) != 0) {
    return fail(system_error(errno, "cannot watch the network devices"));
  }
  auto state = std::make_shared<State>(loop, std::move(netlink), std::move(on_change), of);
  spawn(State::run(state));
  return std::unique_ptr<LinkWatch>(new LinkWatch(std::move(state)));
}

LinkWatch::~LinkWatch() {
  state_->on_change = nullptr;
  state_->interest.fail(Error{Code::internal, "watch ended"});
}

}  // namespace epif::net
