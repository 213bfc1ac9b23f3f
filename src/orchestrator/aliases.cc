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

std::string text(std::chrono::sys_seconds time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

bool is_awaited(const ToldAlias& told) { return told.freed != 0 && told.until == std::chrono::sys_seconds{}; }

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
    if (endpoint && is_awaited(one) && in_place >= one.freed) one.until = now + alias_rest;
  }
  if (!aliases.empty()) told[assignment.node] = {generation, std::move(aliases), assignment.role};
}

void note_aliases(const std::string& node, std::vector<ToldAlias> aliases, std::uint64_t generation, ToldAliases& told) {
  if (!aliases.empty()) told[node] = {generation, std::move(aliases), {}};
}

bool rests(const ToldAlias& told, std::chrono::sys_seconds now) { return told.freed != 0 && (is_awaited(told) || told.until > now); }

std::vector<ToldAlias> told_next(const Told& before, std::optional<Role> role, const std::map<std::string, IpAddress>& in_use,
                                 std::chrono::sys_seconds now) {
  const bool becomes_endpoint = role == Role::endpoint && before.role != Role::endpoint;
  std::vector<ToldAlias> next, rested;
  for (const auto& [name, address] : in_use) next.push_back({name, address});
  for (auto one : before.aliases) {
    const auto used = in_use.find(one.name);
    if (used != in_use.end() && used->second == one.address) continue;
    if (one.freed == 0) one.until = {};
    if (one.freed == 0 || (becomes_endpoint && is_awaited(one))) one.freed = before.generation + 1;
    (rests(one, now) ? next : rested).push_back(one);
  }
  std::ranges::sort(rested, std::ranges::greater{}, &ToldAlias::until);
  rested.resize(std::min(rested.size(), rested_aliases_kept));
  next.insert(next.end(), rested.begin(), rested.end());
  std::ranges::sort(next, {}, [](const ToldAlias& one) { return std::tie(one.name, one.address); });
  return next;
}

std::vector<Refusal> resting_refusals(const std::vector<ToldAlias>& told, const std::optional<Cidr>& range, std::chrono::sys_seconds now) {
  std::vector<Refusal> out;
  std::set<IpAddress> pairs;
  for (const auto& one : told) {
    if (!rests(one, now)) continue;
    out.push_back({{{one.address, 32}, {}}, {}, one.name + " had this address until its flow ended: ask for the name again"});
    if (range && range->contains(one.address)) continue;
    const auto pair = address(number(one.address) & ~1u);
    if (!pairs.insert(pair).second) continue;
    out.push_back({{{pair, 31}, {}}, {}, "next to an address of an earlier alias range, refused until that is let go"});
  }
  return out;
}

std::string alias_clash(const std::string& name, const Node& node, const std::optional<Cidr>& range) {
  const auto inside = [&](const IpAddress& one) { return range && range->contains(one.unmapped()); };
  const auto at = std::ranges::find_if(node.addresses, inside);
  if (at == node.addresses.end()) return {};
  return fmt::format("{} has the address {}, but those of the alias range {} mean names: give it another one, or the orchestrator "
                     "another --alias-range",
                     name, at->text(), range->text());
}

AliasBook::AliasBook(const std::optional<Cidr>& range, ToldAliases told, const ResourceSet& resources, std::chrono::sys_seconds now)
    : range_(range), told_(std::move(told)), now_(now) {
  std::set<std::string> names;
  for (const auto& [name, node] : resources.nodes) {
    if (!node.hostname.empty() && !names.insert(plain(node.hostname)).second) ambiguous_.insert(plain(node.hostname));
  }
  for (const auto& [node, known] : told_) {
    for (const auto& one : known.aliases) {
      if (!range_ || !range_->contains(one.address.unmapped())) continue;
      if (one.freed == 0) {
        if (!given_.contains(one.name) && taken_.insert(one.address).second) given_[one.name] = one.address;
        continue;
      }
      earlier_[one.name].push_back(one.address);
      if (rests(one, now)) {
        auto& rest = resting_[one.address];
        rest.end = std::max(rest.end, one.until);
        rest.names.insert(one.name);
        if (is_awaited(one)) rest.awaited.insert(node);
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

const std::vector<ToldAlias>& AliasBook::told_at(const std::string& client) const {
  static const std::vector<ToldAlias> nothing;
  const auto told = told_.find(client);
  return told == told_.end() ? nothing : told->second.aliases;
}

const ToldAlias* AliasBook::other_at(const AliasWish& wish, const IpAddress& alias) const {
  for (const auto& one : told_at(wish.client)) {
    if (one.address == alias && one.name != wish.hostname && rests(one, now_)) return &one;
  }
  return nullptr;
}

bool AliasBook::may_have(const AliasWish& wish, const IpAddress& alias) const {
  if (taken_.contains(alias)) return false;
  const auto rest = resting_.find(alias);
  return rest == resting_.end() || (rest->second.names.size() == 1 && rest->second.names.contains(wish.hostname));
}

std::optional<IpAddress> AliasBook::choose(const AliasWish& wish) {
  const auto& hostname = wish.hostname;
  if (const auto had = earlier_.find(hostname); had != earlier_.end()) {
    // What rests as its own is nobody else's anyway.
    for (const bool resting : {true, false}) {
      for (const auto& alias : had->second) {
        if (resting_.contains(alias) == resting && may_have(wish, alias)) return alias;
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
    if ((!longest || since < rested_.at(*longest)) && may_have(wish, alias)) longest = alias;
  }
  return longest;
}

std::string AliasBook::after_return(const std::string& node) const {
  const bool is_node = told_.at(node).role == Role::endpoint;
  return is_node ? fmt::format("an hour after the agent of {} is back", node)
                 : fmt::format("an hour after {} is a node again and its agent is back", node);
}

std::string AliasBook::free_again(const ToldAlias& told, const std::string& node) const {
  return is_awaited(told) ? after_return(node) : "at " + text(told.until);
}

Error AliasBook::used_up(const AliasWish& wish) const {
  std::uint64_t rest = 0;
  const Rest* first = nullptr;
  for (const auto& [alias, resting] : resting_) {
    if (taken_.contains(alias)) continue;
    ++rest;
    const auto key = [](const Rest& one) { return std::pair(one.awaited.size(), one.end); };
    if (first == nullptr || key(resting) < key(*first)) first = &resting;
  }
  std::string when;
  if (first != nullptr && first->awaited.empty()) when = fmt::format("at {} at the latest", text(first->end));
  if (first != nullptr) {
    for (const auto& node : first->awaited) when += (when.empty() ? "" : " and ") + after_return(node);
  }
  const auto used = size() - std::min(rest, size());
  return {Code::limit, fmt::format("no alias is left for {}", wish.hostname), "flow " + wish.flow,
          fmt::format("of the {} addresses of {}, {} are in use and {} rest", size(), range_->text(), used, rest),
          "run the orchestrator with a wider --alias-range" + (when.empty() ? "" : ", or wait: one is free " + when)};
}

bool AliasBook::knows(const AliasWish& wish, const IpAddress& alias) const {
  return std::ranges::any_of(told_at(wish.client), [&](const ToldAlias& one) {
    return one.address == alias && one.name == wish.hostname && (one.freed == 0 || rests(one, now_));
  });
}

Result<> AliasBook::check_address(const std::string& flow, const std::string& client, const IpAddress& machine) const {
  const auto* told = other_at({flow, client, {}}, machine);
  if (told == nullptr) return {};
  return fail(Code::limit, fmt::format("{} was an alias of another name", machine.text()), "flow " + flow,
              fmt::format("programs of {} may still have it for {}", client, told->name),
              "wait: it is free there " + free_again(*told, client));
}

Result<> AliasBook::check_room(const AliasWish& wish) const {
  const auto added = added_.find(wish.client);
  auto known = added == added_.end() ? 0 : added->second.size();
  const ToldAlias* first = nullptr;
  for (const auto& one : told_at(wish.client)) {
    const bool resting = rests(one, now_);
    if (one.freed == 0 || resting) ++known;
    if (resting && (first == nullptr || std::pair(is_awaited(one), one.until) < std::pair(is_awaited(*first), first->until))) first = &one;
  }
  if (known < told_aliases_max) return {};
  return fail(Code::limit, fmt::format("no alias is left at {} for {}", wish.client, wish.hostname), "flow " + wish.flow,
              fmt::format("{} are in use or rest there, and no more are remembered", known),
              first == nullptr ? "stop applications there that need others" : "wait: one is free " + free_again(*first, wish.client));
}

Result<> AliasBook::take(const AliasWish& wish, Taken& taken) {
  const auto found = given_.find(wish.hostname);
  const auto alias = found == given_.end() ? choose(wish) : found->second;
  if (!alias) return fail(used_up(wish));
  if (const auto* other = other_at(wish, *alias)) {
    return fail(Code::limit, fmt::format("{} has the alias {}", wish.hostname, alias->text()), "flow " + wish.flow,
                fmt::format("programs of {} may still have that for {}", wish.client, other->name),
                "wait: it is free there " + free_again(*other, wish.client));
  }
  auto& added = added_[wish.client];
  if (!knows(wish, *alias) && !added.contains(wish.hostname)) {
    if (auto room = check_room(wish); !room) return room;
    added.insert(wish.hostname);
    taken.added.emplace_back(wish.client, wish.hostname);
  }
  if (found == given_.end()) taken.names.push_back(wish.hostname);
  taken_.insert(*alias);
  given_[wish.hostname] = *alias;
  return {};
}

Result<> AliasBook::take(const std::vector<AliasWish>& wishes, Taken& taken) {
  for (const auto& wish : wishes) {
    if (auto done = take(wish, taken); !done) return done;
  }
  return {};
}

void AliasBook::give_back(const Taken& taken) {
  for (const auto& hostname : taken.names) {
    const auto alias = given_.at(hostname);
    if (!resting_.contains(alias) && !rested_.contains(alias)) all_known_ = false;
    taken_.erase(alias);
    given_.erase(hostname);
  }
  for (const auto& [client, hostname] : taken.added) added_[client].erase(hostname);
}

Result<> AliasBook::take(const std::vector<AliasWish>& wishes) {
  Taken taken;
  auto done = take(wishes, taken);
  if (!done) give_back(taken);
  return done;
}

Result<> AliasBook::check(const std::vector<AliasWish>& wishes) {
  Taken taken;
  auto done = take(wishes, taken);
  give_back(taken);
  return done;
}

std::optional<IpAddress> AliasBook::given(const std::string& hostname) const {
  const auto found = given_.find(hostname);
  return found == given_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace epif::orchestrator
