#include "leak/bare_lab.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>

#include <array>
#include <cassert>
#include <fstream>

#include "leak/rtnetlink.h"

namespace epif::leak {
namespace {

using Pair = std::array<std::string_view, 2>;  // IPv4, IPv6
constexpr Pair near_addresses{"198.18.0.1", "fd65:7069::1"};
constexpr Pair gates{"198.18.0.2", "fd65:7069::2"};
constexpr Pair targets{"198.18.0.3", "fd65:7069::3"};
constexpr Pair witnesses{"198.18.0.4", "fd65:7069::4"};
constexpr Pair blocks{"198.18.0.0", "fd65:7069::"};
constexpr Pair second_near{"198.18.1.1", "fd65:7069:1::1"};
constexpr Pair second_gates{"198.18.1.2", "fd65:7069:1::2"};
using Prefixes = std::array<std::uint8_t, 2>;
constexpr Prefixes prefixes{24, 64};
constexpr Prefixes alone{32, 128};
constexpr std::uint32_t last_choice = 4096;  // metric: behind the uplink's own routes

Fd this_space() { return Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

IpAddress parsed(std::string_view text) {
  auto address = IpAddress::parse(text);
  assert(address);
  return *address;
}

/// A new namespace whose loopback is up; the calling thread stays where it was.
Result<Fd> new_space() {
  const auto home = this_space();
  if (!home || ::unshare(CLONE_NEWNET) != 0) return fail(system_error(errno, "cannot make a network namespace"));
  auto made = this_space();
  Result<> up = made ? set_up("lo") : Result<>(fail(system_error(errno, "cannot open the network namespace")));
  const auto back = ::setns(home.get(), CLONE_NEWNET);
  assert(back == 0);
  static_cast<void>(back);
  if (!up) return fail(std::move(up.error()));
  return made;
}

Result<> address_and_start(std::string_view device, const Fd& space, const Prefixes& lengths, std::initializer_list<const Pair*> lists) {
  const Inside there(space);
  auto up = set_up(device);
  if (!up) return up;
  for (const auto* list : lists) {
    for (std::size_t i = 0; i < list->size(); ++i) {
      auto added = add_address(device, parsed((*list)[i]), lengths[i]);
      if (!added) return added;
    }
  }
  return {};
}

}  // namespace

Inside::Inside(const Fd& space) : home_(this_space()) {
  const auto entered = ::setns(space.get(), CLONE_NEWNET);
  assert(home_ && entered == 0);
  static_cast<void>(entered);
}

Inside::~Inside() {
  const auto back = ::setns(home_.get(), CLONE_NEWNET);
  assert(back == 0);
  static_cast<void>(back);
}

IpAddress BareLab::near_address(bool v6) { return parsed(near_addresses[v6 ? 1 : 0]); }
IpAddress BareLab::gate(bool v6) { return parsed(gates[v6 ? 1 : 0]); }
IpAddress BareLab::target(bool v6) { return parsed(targets[v6 ? 1 : 0]); }
IpAddress BareLab::witness(bool v6) { return parsed(witnesses[v6 ? 1 : 0]); }

unsigned BareLab::far_index(std::string_view link) const {
  const Inside there(far_);
  return ::if_nametoindex(std::string(link).c_str());
}

Result<std::unique_ptr<BareLab>> BareLab::make() {
  auto near = new_space();
  if (!near) return fail(std::move(near.error()));
  auto far = new_space();
  if (!far) return fail(std::move(far.error()));
  std::unique_ptr<BareLab> lab(new BareLab(std::move(*near), std::move(*far)));
  auto linked = lab->make_link();
  if (linked) linked = lab->make_second();
  if (!linked) return fail(std::move(linked.error()));
  const Inside here(lab->near_);
  std::ofstream("/proc/sys/net/ipv4/ping_group_range") << "0 2147483647\n";  // a new namespace lets nobody ping
  return lab;
}

Result<> BareLab::remove_link() {
  const Inside here(near_);
  return delete_link(device);
}

Result<> BareLab::make_link() {
  {
    const Inside here(near_);
    auto made = add_veth(device, far_);
    if (!made) return made;
  }
  auto far = address_and_start(device, far_, prefixes, {&gates, &targets, &witnesses});
  if (!far) return far;
  auto near = address_and_start(device, near_, prefixes, {&near_addresses});
  if (!near) return near;
  const Inside here(near_);
  return wait_until_running(device);
}

Result<> BareLab::make_second() {
  {
    const Inside here(near_);
    auto made = add_veth(second_device, far_);
    if (!made) return made;
  }
  auto far = address_and_start(second_device, far_, prefixes, {&second_gates});
  if (!far) return far;
  // Here as well, so that far answers for them while the uplink is gone.
  far = address_and_start(second_device, far_, alone, {&gates, &targets, &witnesses});
  if (!far) return far;
  auto near = address_and_start(second_device, near_, prefixes, {&second_near});
  if (!near) return near;
  const Inside here(near_);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto way = add_route(second_device, {parsed(blocks[i]), prefixes[i]}, parsed(second_gates[i]), last_choice);
    if (!way) return way;
  }
  return wait_until_running(second_device);
}

}  // namespace epif::leak
