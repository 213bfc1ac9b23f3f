#include "association/destinations.h"

#include <algorithm>

#include "base/limits.h"

namespace epif::association {

Destinations::Key Destinations::key_of(const socks::Target& target) {
  if (const auto* name = std::get_if<std::string_view>(&target.host)) return {std::string(*name), target.port};
  return {std::get<IpAddress>(target.host).unmapped(), target.port};
}

Destinations::Admission Destinations::admit(const socks::Target& target, net::TimePoint now, std::chrono::sys_seconds wall) {
  auto key = key_of(target);
  if (const auto found = entries_.find(key); found != entries_.end()) {
    if (grants(*found->second.route, wall)) {
      found->second.used = now;
      return {&found->second};
    }
    erase(found);  // past its end: decide again
  }
  if (denied_.contains(key)) return {};
  const Destination asked{key.first, key.second};
  auto route = decide_(asked);
  if (!route) return refused(std::move(key), std::move(route.error()));
  if (!make_room(now)) {
    return {nullptr, Error{Code::limit, "an association's destinations are full", asked.text()}, false, true};
  }
  Entry entry{asked, std::move(*route)};
  entry.used = now;
  const auto made = entries_.emplace(std::move(key), std::move(entry)).first;
  return {&made->second, {}, true};
}

Destinations::Admission Destinations::refused(Key key, Error why) {
  // A limit passes by itself: it is asked again with the next datagram, and told by its count alone.
  if (why.code == Code::limit) return {nullptr, std::move(why), false, true};
  if (denied_.size() >= limits::udp_denied_remembered) return {};
  denied_.insert(std::move(key));
  return {nullptr, std::move(why)};
}

bool Destinations::make_room(net::TimePoint now) {
  if (entries_.size() < limits::udp_destinations) return true;
  const auto oldest = std::ranges::min_element(entries_, {}, [](const auto& entry) { return entry.second.used; });
  if (oldest->second.resolving || now - oldest->second.used < std::chrono::seconds(limits::udp_destination_idle_s)) return false;
  erase(oldest);
  return true;
}

Destinations::Entries::iterator Destinations::erase(Entries::iterator at) {
  auto& entry = at->second;
  static_cast<void>(take_waiting(entry));
  leave_address(entry);
  on_gone_(entry);
  return entries_.erase(at);
}

Destinations::Entry* Destinations::answered_by(const SocketAddress& remote, std::chrono::sys_seconds wall) {
  const auto found = by_address_.find(remote);
  if (found == by_address_.end()) return nullptr;
  if (grants(*found->second->route, wall)) return found->second;
  const auto other = std::ranges::find_if(entries_, [&](const auto& one) {
    return one.second.at == remote && grants(*one.second.route, wall);
  });
  return other == entries_.end() ? nullptr : &other->second;
}

void Destinations::leave_address(Entry& entry) {
  if (!entry.at) return;
  const auto at = *std::exchange(entry.at, std::nullopt);
  const auto mine = by_address_.find(at);
  if (mine == by_address_.end() || mine->second != &entry) return;
  // The client may know the host by other names, too: their answers are still to come.
  const Entry* latest = nullptr;
  for (auto& [key, other] : entries_) {
    if (other.at != at || (latest != nullptr && other.used <= latest->used)) continue;
    latest = mine->second = &other;
  }
  if (latest == nullptr) by_address_.erase(mine);
}

Destinations::Entry* Destinations::answered_on(std::string_view route_id, const socks::Target& source, std::chrono::sys_seconds wall) {
  auto found = entries_.find(key_of(source));
  if (found == entries_.end() || found->second.route->id != route_id) {
    found = std::ranges::find_if(entries_, [&](const auto& entry) { return entry.second.route->id == route_id; });
  }
  return found == entries_.end() || !grants(*found->second.route, wall) ? nullptr : &found->second;
}

void Destinations::set_address(Entry& entry, const SocketAddress& at, net::TimePoint now) {
  if (entry.at != at) leave_address(entry);
  entry.at = at;
  entry.resolved = now;
  by_address_[at] = &entry;
}

bool Destinations::hold(Entry& entry, ByteSpan payload, net::TimePoint now) {
  if (waiting_bytes_ + payload.size() > limits::udp_waiting_bytes || entry.waiting.size() >= limits::udp_batch) return false;
  if (!queued_.take(payload.size())) return false;
  waiting_bytes_ += payload.size();
  entry.waiting.emplace_back(now, Bytes(payload.begin(), payload.end()));
  return true;
}

std::vector<std::pair<net::TimePoint, Bytes>> Destinations::take_waiting(Entry& entry) {
  for (const auto& [since, payload] : entry.waiting) {
    waiting_bytes_ -= payload.size();
    queued_.give(payload.size());
  }
  return std::exchange(entry.waiting, {});
}

std::vector<Destination> Destinations::adopt(const std::function<RoutePtr(const Entry&)>& successor) {
  std::vector<Destination> lost;
  denied_.clear();
  for (auto at = entries_.begin(); at != entries_.end();) {
    auto route = successor(at->second);
    if (route) {
      at->second.route = std::move(route);
      ++at;
    } else {
      lost.push_back(at->second.asked);
      at = erase(at);
    }
  }
  return lost;
}

bool Destinations::uses(std::string_view route_id) const {
  return std::ranges::any_of(entries_, [&](const auto& entry) { return entry.second.route->id == route_id; });
}

void Destinations::clear() {
  by_address_.clear();
  for (auto at = entries_.begin(); at != entries_.end();) at = erase(at);
}

void Destinations::each(const std::function<void(const Entry&)>& visit) const {
  for (const auto& [key, entry] : entries_) visit(entry);
}

}  // namespace epif::association
