#include "orchestrator/aliases.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "base/limits.h"

namespace epif::orchestrator {
namespace {

static_assert(alias_rest >= 2 * std::chrono::seconds(limits::dns_lifetime_s), "programs keep a redirector's answer so long");

std::uint32_t number(const IpAddress& address) {
  std::uint32_t out = 0;
  for (const auto byte : address.bytes()) out = out << 8 | byte;
  return out;
}

IpAddress address(std::uint32_t number) {
  std::array<std::uint8_t, 4> bytes{};
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte, number >>= 8) *byte = static_cast<std::uint8_t>(number);
  return IpAddress::v4(bytes);
}

/// As names are compared elsewhere: without case, without the root's dot.
std::string plain(std::string name) {
  if (name.ends_with('.')) name.pop_back();
  std::ranges::transform(name, name.begin(), [](char byte) { return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte; });
  return name;
}

constexpr std::chrono::sys_seconds never{};

std::string text(std::chrono::sys_seconds time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

std::uint32_t spread(const std::string& name) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char byte : name) hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619u;
  return hash;
}

}  // namespace

Result<Cidr> parse_alias_range(std::string_view text) {
  const auto refused = [&](const std::string& why) {
    return fail(Code::usage, "bad --alias-range", std::string(text), why, "an IPv4 block that no machine uses, such as 198.18.0.0/15");
  };
  const auto range = Cidr::parse(text);
  if (!range) return refused(range.error().text());
  if (range->address.is_v6() || range->prefix > 30) return refused("not an IPv4 block of 4 addresses or more");
  // RFC 6890: what a host takes for itself, its link or many.
  using Special = std::pair<std::string_view, std::string_view>;
  static constexpr std::array<Special, 5> special{{{"0.0.0.0/8", "this host"},
                                                   {"127.0.0.0/8", "loopback"},
                                                   {"169.254.0.0/16", "link-local"},
                                                   {"224.0.0.0/4", "multicast"},
                                                   {"255.255.255.255", "broadcast"}}};
  for (const auto& [block, what] : special) {
    const auto own = Cidr::parse(block).value();
    if (own.contains(range->address) || range->contains(own.address)) return refused(fmt::format("it holds addresses of {} ({})", what, block));
  }
  return *range;
}

void note_aliases(const Assignment& assignment, std::uint64_t generation, std::uint64_t in_place, std::chrono::sys_seconds now,
                  const std::optional<Cidr>& range, ToldAliases& told) {
  const bool endpoint = assignment.role == Role::endpoint;
  auto aliases = assignment.aliases;
  if (aliases.empty() && range && endpoint) {  // an older program wrote no list
    for (const auto& route : assignment.routes.routes) {
      const auto& address = route.destination.block.address;
      if (!route.name.empty() && range->contains(address)) aliases.push_back({route.name, address});
    }
  }
  for (auto& one : aliases) {
    if (endpoint && one.freed != 0 && one.until == std::chrono::sys_seconds{} && in_place >= one.freed) one.until = now + alias_rest;
  }
  if (!aliases.empty()) told[assignment.node] = {generation, std::move(aliases)};
}

void note_aliases(const Removal& removal, std::uint64_t generation, ToldAliases& told) {
  if (!removal.aliases.empty()) told[removal.node] = {generation, removal.aliases};
}

bool rests(const ToldAlias& told, std::chrono::sys_seconds now) {
  return told.freed != 0 && (told.until == std::chrono::sys_seconds{} || told.until > now);
}

std::vector<ToldAlias> told_next(const Told& before, const std::map<std::string, IpAddress>& in_use,
                                 std::chrono::sys_seconds now) {
  std::vector<ToldAlias> next, rested;
  for (const auto& [name, address] : in_use) next.push_back({name, address});
  for (auto one : before.aliases) {
    const auto used = in_use.find(one.name);
    if (used != in_use.end() && used->second == one.address) continue;
    if (one.freed == 0) one.freed = before.generation + 1;
    (rests(one, now) ? next : rested).push_back(one);
  }
  std::ranges::sort(rested, std::ranges::greater{}, &ToldAlias::until);
  rested.resize(std::min(rested.size(), rested_aliases_kept));
  next.insert(next.end(), rested.begin(), rested.end());
  std::ranges::sort(next, {}, [](const ToldAlias& one) { return std::tie(one.name, one.address); });
  return next;
}

std::string alias_clash(const std::string& name, const Node& node, const std::optional<Cidr>& range) {
  const auto inside = [&](const IpAddress& one) { return range && range->contains(one.unmapped()); };
  const auto at = std::ranges::find_if(node.addresses, inside);
  if (at == node.addresses.end()) return {};
  return fmt::format("{} has the address {}, but those of the alias range {} mean names: give it another one, or the orchestrator "
                     "another --alias-range",
                     name, at->text(), range->text());
}

AliasBook::AliasBook(const std::optional<Cidr>& range, const ToldAliases& told, const ResourceSet& resources, std::chrono::sys_seconds now)
    : range_(range) {
  std::set<std::string> names;
  for (const auto& [name, node] : resources.nodes) {
    if (!node.hostname.empty() && !names.insert(plain(node.hostname)).second) ambiguous_.insert(plain(node.hostname));
  }
  for (const auto& [node, known] : told) {
    for (const auto& one : known.aliases) {
      if (!range_ || !range_->contains(one.address.unmapped())) continue;
      if (one.freed == 0) {
        if (!given_.contains(one.name) && taken_.insert(one.address).second) given_[one.name] = one.address;
        continue;
      }
      earlier_[one.name].push_back(one.address);
      if (rests(one, now)) {
        auto& rest = resting_[one.address];
        rest.end = rest.names.empty() || (rest.end != never && one.until != never) ? std::max(rest.end, one.until) : never;
        rest.names.insert(one.name);
      } else {
        auto& since = rested_[one.address];
        since = std::max(since, one.until);
      }
    }
  }
  const auto keep_off = [&](const std::vector<IpAddress>& machine) {
    for (const auto& one : machine) taken_.insert(one.unmapped());
  };
  for (const auto& [name, proxy] : resources.proxies) keep_off(proxy.addresses);
  for (const auto& [name, node] : resources.nodes) keep_off(node.addresses);
}

bool AliasBook::is_ambiguous(const std::string& hostname) const { return ambiguous_.contains(plain(hostname)); }

bool AliasBook::may_have(const std::string& hostname, const IpAddress& alias) const {
  const auto rest = resting_.find(alias);
  return !taken_.contains(alias) && (rest == resting_.end() || (rest->second.names.size() == 1 && rest->second.names.contains(hostname)));
}

std::optional<IpAddress> AliasBook::choose(const std::string& hostname) {
  if (const auto had = earlier_.find(hostname); had != earlier_.end()) {
    // What rests as its own is nobody else's anyway.
    for (const bool resting : {true, false}) {
      for (const auto& alias : had->second) {
        if (resting_.contains(alias) == resting && may_have(hostname, alias)) return alias;
      }
    }
  }
  for (std::uint64_t tried = 0; tried < size() && !all_known_; ++tried) {
    const auto at = (spread(hostname) % size() + tried) % size();
    const auto alias = address(number(range_->address) + 1 + static_cast<std::uint32_t>(at));
    if (!taken_.contains(alias) && !resting_.contains(alias) && !rested_.contains(alias)) return alias;
  }
  all_known_ = true;
  std::optional<IpAddress> longest;
  for (const auto& [alias, since] : rested_) {
    if (may_have(hostname, alias) && (!longest || since < rested_.at(*longest))) longest = alias;
  }
  return longest;
}

Error AliasBook::used_up(const AliasWish& wish) const {
  std::uint64_t rest = 0;
  auto soonest = never;
  for (const auto& [alias, resting] : resting_) {
    if (taken_.contains(alias)) continue;
    ++rest;
    if (resting.end != never && (soonest == never || resting.end < soonest)) soonest = resting.end;
  }
  auto advice = std::string("run the orchestrator with a wider --alias-range");
  if (soonest != never) advice += fmt::format(", or wait: one is free at {} at the latest", text(soonest));
  const auto used = size() - std::min(rest, size());
  return {Code::limit, fmt::format("no alias is left for {}", wish.hostname), "flow " + wish.flow,
          fmt::format("of the {} addresses of {}, {} are in use and {} rest", size(), range_->text(), used, rest), std::move(advice)};
}

Result<> AliasBook::take(const AliasWish& wish) {
  const auto found = given_.find(wish.hostname);
  const auto alias = found == given_.end() ? choose(wish.hostname) : found->second;
  if (!alias) return fail(used_up(wish));
  taken_.insert(*alias);
  given_[wish.hostname] = *alias;
  return {};
}

Result<> AliasBook::take(const std::vector<AliasWish>& wishes) {
  std::vector<std::string> fresh;
  for (const auto& wish : wishes) {
    const bool had = given_.contains(wish.hostname);
    if (auto taken = take(wish); !taken) {
      for (const auto& hostname : fresh) {
        taken_.erase(given_.at(hostname));
        given_.erase(hostname);
        all_known_ = false;
      }
      return taken;
    }
    if (!had) fresh.push_back(wish.hostname);
  }
  return {};
}

std::optional<IpAddress> AliasBook::given(const std::string& hostname) const {
  const auto found = given_.find(hostname);
  return found == given_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace epif::orchestrator
