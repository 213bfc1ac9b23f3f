#include "net/mptcp_paths.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/limits.h"
#include "base/log.h"

namespace epif::net {
namespace {

bool same(const MptcpEndpoint& one, const MptcpEndpoint& other) { return one.id == other.id && one.address == other.address && one.device == other.device; }

bool holds(const std::vector<MptcpEndpoint>& list, const MptcpEndpoint& one) {
  return std::ranges::any_of(list, [&](const auto& known) { return same(known, one); });
}

/// True if an address works now that did not work before, or was not there. Both sorted.
bool works_anew(const std::vector<NodeAddress>& before, const std::vector<NodeAddress>& now) {
  return std::ranges::any_of(now, [&](const auto& one) { return one.works && !std::ranges::binary_search(before, one); });
}

/// Lines "limits ACCEPTED SUBFLOWS" and "endpoint ID DEVICE ADDRESS".
MptcpPaths::Noted read_notes(const std::string& path) {
  MptcpPaths::Noted noted;
  if (path.empty()) return noted;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, address;
    unsigned first = 0;
    unsigned second = 0;
    words >> kind >> first >> second >> address;
    if (kind == "limits" && words.eof()) noted.limits_before = MptcpLimits{first, second};
    const auto ip = IpAddress::parse(address);
    if (kind == "endpoint" && ip && first <= 255) noted.endpoints.push_back({*ip, second, static_cast<std::uint8_t>(first), false, false});
  }
  return noted;
}

void remove_noted(const MptcpPaths::Noted& noted) {
  const auto known = mptcp_endpoints();
  for (const auto& one : noted.endpoints) {
    if (!known || !holds(*known, one)) continue;
    if (auto removed = remove_mptcp_endpoint(one.id); !removed) log::warn("mptcp", "an endpoint stays", {{"why", removed.error().text()}});
  }
  if (!noted.limits_before) return;
  if (auto set = set_mptcp_limits(*noted.limits_before); !set) log::warn("mptcp", "the limits are not set back", {{"why", set.error().text()}});
}

}  // namespace

MptcpPaths::MptcpPaths(Loop& loop, End end, std::string state_file, std::function<void()> on_new)
    : end_(end), state_file_(std::move(state_file)), ours_(read_notes(state_file_)), on_new_(std::move(on_new)) {
  if (!has_mptcp()) {
    log::warn("mptcp", "this kernel has no MPTCP, or it is switched off (sysctl net.mptcp.enabled); TCP is used");
    return;
  }
  watch(loop);
  follow();
}

void MptcpPaths::watch(Loop& loop) {
  // A router's advertisement confirms addresses every few seconds, and changes none.
  auto watch = LinkWatch::start(loop, [this] {
    const auto before = addresses_;
    follow();
    if (on_new_ && works_anew(before, addresses_)) on_new_();
  }, LinkWatch::Of::addresses);
  if (watch) {
    watch_ = std::move(*watch);
  } else {
    log::warn("mptcp", "addresses that come or go are not seen", {{"why", watch.error().text()}});
  }
  if (!on_new_) return;
  auto routes = LinkWatch::start(loop, [this] { on_new_(); }, LinkWatch::Of::new_routes);
  if (routes) {
    route_watch_ = std::move(*routes);
  } else {
    log::warn("mptcp", "routes that come are not seen", {{"why", routes.error().text()}});
  }
}

MptcpPaths::~MptcpPaths() {
  watch_.reset();
  route_watch_.reset();
  if (left_) return;
  remove_noted(ours_);
  std::error_code ignored;
  if (!state_file_.empty()) std::filesystem::remove(state_file_, ignored);
}

void MptcpPaths::note() const {
  if (state_file_.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(state_file_).parent_path(), ignored);
  const auto fresh = state_file_ + ".new";
  std::ofstream file(fresh);
  if (ours_.limits_before) file << "limits " << ours_.limits_before->accepted_addresses << ' ' << ours_.limits_before->subflows << '\n';
  for (const auto& one : ours_.endpoints) file << "endpoint " << unsigned{one.id} << ' ' << one.device << ' ' << one.address.text() << '\n';
  file.close();
  std::filesystem::rename(fresh, state_file_, ignored);
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
  if (set && !ours_.limits_before) ours_.limits_before = *limits;
  if (set) note();
  return set;
}

Result<> MptcpPaths::adjust() {
  auto known = mptcp_endpoints();
  if (!known) return fail(std::move(known.error()));
  std::erase_if(ours_.endpoints, [&](const auto& one) { return !holds(*known, one); });
  const bool foreign = std::ranges::any_of(*known, [this](const auto& one) { return !holds(ours_.endpoints, one); });
  if (foreign && !foreign_) log::info("mptcp", "this node has endpoints that others have set; they are used as they are");
  foreign_ = foreign;
  auto addresses = node_addresses();
  if (!addresses) return fail(std::move(addresses.error()));
  addresses_ = *addresses;
  if (foreign) addresses->clear();
  const auto mine = ours_.endpoints;
  for (const auto& one : mine) {
    const auto still = [&](const NodeAddress& there) { return there.address == one.address && there.device == one.device; };
    if (std::ranges::any_of(*addresses, still)) continue;
    if (auto removed = remove_mptcp_endpoint(one.id); !removed) return removed;
    std::erase_if(ours_.endpoints, [&](const auto& gone) { return gone.id == one.id; });
    note();
    log::info("mptcp", "address is not used any more", {{"address", one.address.text()}});
  }
  for (const auto& address : *addresses) {
    const bool known_already = std::ranges::find(ours_.endpoints, address.address, &MptcpEndpoint::address) != ours_.endpoints.end();
    if (!address.works || known_already || ours_.endpoints.size() >= limits::mptcp_endpoints) continue;
    if (auto added = add(address); !added) return added;
  }
  return {};
}

/// The kernel gives the id: ids that we chose would push those of others aside.
Result<> MptcpPaths::add(const NodeAddress& address) {
  const bool connects = end_ == End::connects;
  auto added = add_mptcp_endpoint({address.address, address.device, 0, connects, !connects});
  if (!added) return added;
  auto known = mptcp_endpoints();
  if (!known) return fail(std::move(known.error()));
  const auto made = std::ranges::find(*known, address.address, &MptcpEndpoint::address);
  if (made == known->end()) return fail(Code::io, "the kernel has forgotten an endpoint", address.address.text());
  ours_.endpoints.push_back(*made);
  note();
  log::info("mptcp", "address is used", {{"address", address.address.text()}});
  return {};
}

void remove_mptcp_paths(const std::string& state_file) {
  remove_noted(read_notes(state_file));
  std::error_code ignored;
  std::filesystem::remove(state_file, ignored);
}

}  // namespace epif::net
