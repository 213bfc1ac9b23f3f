#include "net/mptcp_paths.h"

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"

namespace epif::net {
namespace {

constexpr std::uint8_t first_id(MptcpPaths::End end) { return static_cast<std::uint8_t>(end); }

bool in_range(std::uint8_t id, std::uint8_t first) { return id >= first && id < first + limits::mptcp_endpoints; }
bool is_epifs(const MptcpEndpoint& endpoint) {
  return in_range(endpoint.id, first_id(MptcpPaths::End::connects)) || in_range(endpoint.id, first_id(MptcpPaths::End::listens));
}

std::uint8_t free_id(const std::vector<MptcpEndpoint>& known, std::uint8_t first) {
  for (std::uint8_t id = first; in_range(id, first); ++id) {
    if (std::ranges::find(known, id, &MptcpEndpoint::id) == known.end()) return id;
  }
  return 0;
}

}  // namespace

MptcpPaths::MptcpPaths(Loop& loop, End end) : end_(end) {
  if (!has_mptcp()) {
    log::warn("mptcp", "this kernel has no MPTCP, or it is switched off (sysctl net.mptcp.enabled); TCP is used");
    return;
  }
  auto watch = LinkWatch::start(loop, [this] { follow(); }, true);
  if (watch) {
    watch_ = std::move(*watch);
  } else {
    log::warn("mptcp", "addresses that come or go are not seen", {{"why", watch.error().text()}});
  }
  follow();
}

MptcpPaths::~MptcpPaths() {
  watch_.reset();
  if (left_) return;
  remove_mptcp_paths(end_);
  if (!limits_before_) return;
  if (auto set = set_mptcp_limits(*limits_before_); !set) log::warn("mptcp", "the limits are not set back", {{"why", set.error().text()}});
}

void MptcpPaths::follow() {
  auto done = raise_limits();
  if (done) done = adjust();
  if (!done && !told_) {
    log::warn("mptcp", "connections use one path each", {{"why", done.error().text()}, {"advice", "ip mptcp limits set subflow 8 add_addr_accepted 8; ip mptcp endpoint add ADDRESS dev DEVICE subflow fullmesh, at a proxy signal"}});
  }
  told_ = !done;
}

Result<> MptcpPaths::raise_limits() {
  auto limits = mptcp_limits();
  if (!limits) return fail(std::move(limits.error()));
  MptcpLimits wish{std::max(limits->accepted_addresses, limits::mptcp_subflows), std::max(limits->subflows, limits::mptcp_subflows)};
  if (wish.accepted_addresses == limits->accepted_addresses && wish.subflows == limits->subflows) return {};
  auto set = set_mptcp_limits(wish);
  if (set && !limits_before_) limits_before_ = *limits;
  return set;
}

bool MptcpPaths::is_ours(const MptcpEndpoint& endpoint) const { return in_range(endpoint.id, first_id(end_)); }

Result<> MptcpPaths::adjust() {
  auto known = mptcp_endpoints();
  if (!known) return fail(std::move(known.error()));
  const bool foreign = std::ranges::any_of(*known, [](const auto& one) { return !is_epifs(one); });
  if (foreign && !foreign_) log::info("mptcp", "this node has endpoints of its own; they are used as they are");
  foreign_ = foreign;
  auto wished = node_addresses();
  if (!wished) return fail(std::move(wished.error()));
  if (foreign) wished->clear();
  for (const auto& one : *known) {
    const auto still = [&](const NodeAddress& wish) { return wish.address == one.address && wish.device == one.device; };
    if (!is_ours(one) || std::ranges::any_of(*wished, still)) continue;
    if (auto removed = remove_mptcp_endpoint(one.id); !removed) return removed;
    log::info("mptcp", "address is not used any more", {{"address", one.address.text()}});
  }
  // The kernel knows an address once, whoever set it: with a redirector and a proxy in one place the first has it.
  for (const auto& [address, device] : *wished) {
    known = mptcp_endpoints();
    if (!known) return fail(std::move(known.error()));
    if (std::ranges::find(*known, address, &MptcpEndpoint::address) != known->end()) continue;
    const auto id = free_id(*known, first_id(end_));
    if (id == 0 || known->size() >= limits::mptcp_endpoints) break;
    const bool connects = end_ == End::connects;
    auto added = add_mptcp_endpoint({address, device, id, connects, !connects});
    if (!added) return added;
    log::info("mptcp", "address is used", {{"address", address.text()}});
  }
  return {};
}

void remove_mptcp_paths(MptcpPaths::End end) {
  const auto known = mptcp_endpoints();
  if (!known) return;
  for (const auto& one : *known) {
    if (!in_range(one.id, first_id(end))) continue;
    if (auto removed = remove_mptcp_endpoint(one.id); !removed) log::warn("mptcp", "an endpoint stays", {{"why", removed.error().text()}});
  }
}

}  // namespace epif::net
