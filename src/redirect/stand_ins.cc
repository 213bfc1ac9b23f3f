#include "redirect/stand_ins.h"

#include <algorithm>

#include "base/log.h"
#include "net/tcp.h"

namespace epif::redirect {
namespace {

constexpr std::string_view stand_ins_word = "stand-ins";
constexpr std::string_view origins_word = "stand-in-origins";
constexpr std::uint16_t dns_service = 53;

net::ConnectHook::Excluded for_hook(const ExcludedPrograms& programs) {
  net::ConnectHook::Excluded excluded{programs.users, {}, 0};
  for (const auto& cgroup : programs.cgroups) {
    if (cgroup.number == 0) continue;
    excluded.cgroups.push_back(cgroup.number);
    excluded.deepest = std::max(excluded.deepest, cgroup.level());
  }
  return excluded;
}

Fd take_one(std::vector<net::Handed>& things, std::string_view word) {
  const auto found = std::ranges::find(things, word, &net::Handed::what);
  if (found == things.end()) return {};
  Fd taken = std::move(found->descriptor);
  things.erase(found);
  return taken;
}

}  // namespace

bool redirects(const CaptureRules& rules, const SocketAddress& destination) {
  const auto covers = [&](const CaptureTarget& target) {
    return target.block.contains(destination.ip) && target.ports.contains(destination.port);
  };
  if (rules.dns_port != 0 && destination.port == dns_service) return false;
  return std::ranges::any_of(rules.targets, covers) && std::ranges::none_of(rules.excluded, covers) &&
         std::ranges::find(rules.diversions, destination, &Diversion::server) == rules.diversions.end();
}

Result<std::shared_ptr<StandIns>> StandIns::start(const net::ConnectHook::Settings& settings, const ExcludedPrograms& excluded,
                                                   std::optional<net::StandInMaps> inherited) {
  if (!inherited) {
    auto made = net::StandInMaps::make();
    if (!made) return fail(std::move(made.error()));
    inherited = std::move(*made);
  }
  auto hook = net::ConnectHook::attach(settings, for_hook(excluded), *inherited);
  if (!hook) return fail(std::move(hook.error()));
  return std::shared_ptr<StandIns>(new StandIns(std::move(*inherited), std::move(*hook)));
}

std::shared_ptr<StandIns> StandIns::after(net::StandInMaps inherited) {
  return std::shared_ptr<StandIns>(new StandIns(std::move(inherited), nullptr));
}

std::optional<net::StandInMaps> StandIns::take(std::vector<net::Handed>& things) {
  net::StandInMaps::Descriptors taken{take_one(things, stand_ins_word), take_one(things, origins_word)};
  if (!taken.stand_ins || !taken.origins) return {};
  return net::StandInMaps(std::move(taken));
}

Result<std::vector<net::Handed>> StandIns::copies() const {
  auto copied = maps_.copies();
  if (!copied) return fail(std::move(copied.error()));
  std::vector<net::Handed> things;
  things.push_back({std::string(stand_ins_word), std::move(copied->stand_ins)});
  things.push_back({std::string(origins_word), std::move(copied->origins)});
  return things;
}

void StandIns::forget_all() {
  full_ = false;
  auto none = maps_.lead_none();
  if (none) return;
  log::error("redirect", none.error(), {{"next", "connections come by address translation alone"}});
  if (hook_) hook_->stop_leading();
}

void StandIns::exclude(const ExcludedPrograms& excluded) {
  const std::lock_guard lock(mutex_);
  if (!hook_) return;
  auto told = hook_->exclude(for_hook(excluded));
  if (told) return;
  log::error("redirect", told.error(), {{"next", "connections come by address translation alone"}});
  hook_->stop_leading();
}

void StandIns::follow(const CaptureRules& rules) {
  const std::lock_guard lock(mutex_);
  if (rules_ == rules) return;
  rules_ = rules;
  forget_all();
}

void StandIns::forget() {
  const std::lock_guard lock(mutex_);
  forget_all();
}

void StandIns::forget_if_addresses_changed() {
  auto now = net::node_addresses();
  if (!now) return;
  std::erase_if(*now, [](const net::NodeAddress& one) { return one.address.is_v6(); });
  const std::lock_guard lock(mutex_);
  if (*now == addresses_) return;
  addresses_ = std::move(*now);
  forget_all();
}

void StandIns::learn(const SocketAddress& destination) {
  if (!hook_ || destination.ip.is_v6()) return;
  const std::lock_guard lock(mutex_);
  // Looked at under the lock: a connection of old rules may end its handshake under new ones.
  if (paused_ || full_ || !rules_ || !redirects(*rules_, destination) || maps_.leads(destination)) return;
  auto source = net::source_towards(destination);
  if (!source) return;
  auto led = maps_.lead({destination, *source});
  if (led) return;
  full_ = true;
  log::warn("redirect", "no more destinations are learned", {{"why", led.error().text()}, {"next", "their connections come by address translation"}});
}

void StandIns::pause(bool now) {
  const std::lock_guard lock(mutex_);
  paused_ = now;
}

void StandIns::end() {
  const std::lock_guard lock(mutex_);
  paused_ = true;
  if (hook_) hook_->stop_leading();
}

}  // namespace epif::redirect
