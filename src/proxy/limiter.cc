#include "proxy/limiter.h"

#include <fmt/format.h>

#include <cassert>

namespace epif::proxy {
namespace {

template <class Counts, class Key>
void decrement(Counts& counts, const Key& key) {
  const auto found = counts.find(key);
  assert(found != counts.end() && found->second > 0);
  if (--found->second == 0) counts.erase(found);
}

}  // namespace

Limiter::Place::Place(Place&& other) noexcept
    : limiter_(std::exchange(other.limiter_, nullptr)), source_(other.source_), route_(std::move(other.route_)) {}

Limiter::Place& Limiter::Place::operator=(Place&& other) noexcept {
  if (this != &other) {
    leave();
    limiter_ = std::exchange(other.limiter_, nullptr);
    source_ = other.source_;
    route_ = std::move(other.route_);
  }
  return *this;
}

void Limiter::Place::leave() {
  if (limiter_ == nullptr) return;
  const std::lock_guard lock(limiter_->mutex_);
  if (route_.empty()) {
    --limiter_->total_;
    decrement(limiter_->sources_, source_);
  } else {
    decrement(limiter_->routes_, route_);
  }
  limiter_ = nullptr;
}

Result<Limiter::Place> Limiter::enter(const IpAddress& source) {
  const auto plain = source.unmapped();
  const std::lock_guard lock(mutex_);
  if (total_ >= limits_.total) return fail(Code::limit, fmt::format("{} connections are the most", limits_.total));
  auto& mine = sources_[plain];
  if (mine >= limits_.per_source) {
    return fail(Code::limit, fmt::format("{} connections from {} are the most", limits_.per_source, plain.text()));
  }
  ++mine;
  ++total_;
  Place place;
  place.limiter_ = this;
  place.source_ = plain;
  return place;
}

Result<Limiter::Place> Limiter::enter_route(const std::string& route, std::uint32_t most) {
  const std::lock_guard lock(mutex_);
  auto& count = routes_[route];
  if (most != 0 && count >= most) return fail(Code::limit, fmt::format("{} connections of route {} are the most", most, route));
  ++count;
  Place place;
  place.limiter_ = this;
  place.route_ = route;
  return place;
}

std::uint32_t Limiter::total() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

}  // namespace epif::proxy
