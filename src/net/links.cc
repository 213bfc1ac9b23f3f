#include "net/links.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "net/task.h"

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

struct LinkWatch::State {
  State(Loop& loop, Fd netlink, OnChange callback)
      : socket(std::move(netlink)), interest(loop, socket.get()), on_change(std::move(callback)) {}
  Fd socket;
  Interest interest;
  OnChange on_change;

  static Task<void> run(std::shared_ptr<State> state) {
    for (;;) {
      auto ready = co_await state->interest.readable();
      if (!ready) co_return;
      // What the messages say does not matter: the owner looks at all devices again. A lost message (ENOBUFS) is a change.
      bool changed = false;
      for (;;) {
        const auto got = recv(state->socket.get(), state->interest.loop().scratch().data(), 65536, MSG_DONTWAIT);
        if (got < 0 && errno != ENOBUFS) break;
        changed = true;
      }
      state->interest.drained_read();
      if (changed && state->on_change) state->on_change();
    }
  }
};

Result<std::unique_ptr<LinkWatch>> LinkWatch::start(Loop& loop, OnChange on_change) {
  Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  sockaddr generic{};
  static_assert(sizeof address <= sizeof generic);
  std::memcpy(&generic, &address, sizeof address);
  if (!netlink || bind(netlink.get(), &generic, sizeof address) != 0) {
    return fail(system_error(errno, "cannot watch the network devices"));
  }
  auto state = std::make_shared<State>(loop, std::move(netlink), std::move(on_change));
  spawn(State::run(state));
  return std::unique_ptr<LinkWatch>(new LinkWatch(std::move(state)));
}

LinkWatch::~LinkWatch() {
  state_->on_change = nullptr;
  state_->interest.fail(Error{Code::internal, "watch ended"});
}

}  // namespace epif::net
