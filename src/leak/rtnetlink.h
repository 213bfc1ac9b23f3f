#pragma once
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"

/// The few changes of links and addresses that the lab needs, in the network namespace of the calling thread (rtnetlink(7)).
namespace epif::leak {

/// A pair of veth devices; the other end, of the same name, in the namespace `other`.
[[nodiscard]] Result<> add_veth(std::string_view name, const Fd& other);
[[nodiscard]] Result<> delete_link(std::string_view name);
[[nodiscard]] Result<> set_up(std::string_view name);
/// Returns when the link carries packets; before that the kernel drops them. Errors: timeout.
[[nodiscard]] Result<> wait_until_running(std::string_view name);
/// An address that is usable at once (no duplicate address detection).
[[nodiscard]] Result<> add_address(std::string_view name, const IpAddress& address, std::uint8_t prefix);
/// A way to `block` by the neighbour `gate`; of several the one with the smallest `metric` is taken.
[[nodiscard]] Result<> add_route(std::string_view name, const Cidr& block, const IpAddress& gate, std::uint32_t metric);

}  // namespace epif::leak
