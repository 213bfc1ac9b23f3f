#include "net/limiter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace epif::net {

IpAddress source_of(const IpAddress& address) {
  const auto plain = address.unmapped();
  if (plain.is_v4()) return plain;
  constexpr std::size_t kept = limits::source_prefix_v6 / 8;
  std::array<std::uint8_t, 16> block{};
  std::ranges::copy(plain.bytes().first(kept), block.begin());
  return IpAddress::v6(block);
}

std::string_view Limiter::name(Limit limit) {
  switch (limit) {
    case Limit::total: return "connections";
    case Limit::per_source: return "connections_per_source";
    case Limit::handshakes: return "handshakes";
    case Limit::handshakes_per_source: return "handshakes_per_source";
    case Limit::rate: return "rate";
    case Limit::rate_per_source: return "rate_per_source";
    case Limit::memory: return "memory";
    case Limit::memory_per_source: return "memory_per_source";
    case Limit::route: return "route";
  }
  return "unknown";
}

double Limiter::Bucket::content(std::uint32_t per_second, TimePoint now) const {
  const double most = per_second;
  // `now` was taken before the lock: another's, that was later, may have come first.
  const std::chrono::duration<double> passed = std::max(now - filled, TimePoint::duration::zero());
  return filled == TimePoint{} ? most : std::min(most, left + passed.count() * most);
}

bool Limiter::Bucket::take(std::uint32_t per_second, TimePoint now) {
  left = content(per_second, now);
  filled = now;
  if (left < 1) return false;
  left -= 1;
  return true;
}

Limiter::Place::Place(Place&& other) noexcept
    : limiter_(std::exchange(other.limiter_, nullptr)),
      source_(other.source_),
      route_(std::move(other.route_)),
      handshake_(other.handshake_),
      held_(other.held_) {}

Limiter::Place& Limiter::Place::operator=(Place&& other) noexcept {
  if (this != &other) {
    leave();
    limiter_ = std::exchange(other.limiter_, nullptr);
    source_ = other.source_;
    route_ = std::move(other.route_);
    handshake_ = other.handshake_;
    held_ = other.held_;
  }
  return *this;
}

void Limiter::Place::handshake_over() {
  if (limiter_ == nullptr || !handshake_) return;
  handshake_ = false;
  const std::lock_guard lock(limiter_->mutex_);
  --limiter_->state_.handshakes;
  --limiter_->sources_.at(source_).handshakes;
}

Result<> Limiter::Place::hold(std::size_t bytes) {
  if (limiter_ == nullptr || bytes == held_) return {};
  const std::lock_guard lock(limiter_->mutex_);
  auto& source = limiter_->sources_.at(source_);
  if (bytes > held_) {
    const auto more = bytes - held_;
    const auto& most = limiter_->limits_;
    if (const auto all = source.all().memory; all + more > most.memory_per_source) {
      return limiter_->shed(Limit::memory_per_source, fmt::format("unread requests of {} hold {} bytes", source_.text(), all));
    }
    if (limiter_->state_.memory + more > most.memory) {
      return limiter_->shed(Limit::memory, fmt::format("unread requests hold {} bytes", limiter_->state_.memory));
    }
  }
  source.memory += bytes - held_;
  limiter_->state_.memory += bytes - held_;
  held_ = bytes;
  return {};
}

void Limiter::Place::leave() {
  if (limiter_ == nullptr) return;
  const std::lock_guard lock(limiter_->mutex_);
  if (route_.empty()) {
    auto& state = limiter_->state_;
    auto& source = limiter_->sources_.at(source_);
    assert(source.connections > 0 && source.memory >= held_);
    --state.connections;
    --source.connections;
    state.handshakes -= handshake_ ? 1 : 0;
    source.handshakes -= handshake_ ? 1 : 0;
    state.memory -= held_;
    source.memory -= held_;
    // The source itself stays for a while: how fast it comes must not be forgotten with its last connection.
  } else {
    const auto found = limiter_->routes_.find(route_);
    assert(found != limiter_->routes_.end() && found->second > 0);
    if (--found->second == 0) limiter_->routes_.erase(found);
  }
  limiter_ = nullptr;
}

std::unexpected<Error> Limiter::shed(Limit limit, std::string what) {
  ++state_.shed[static_cast<std::size_t>(limit)];
  return fail(Code::limit, std::move(what));
}

void Limiter::erase_idle_sources(TimePoint now) {
  std::erase_if(sources_, [&](const auto& entry) {
    return entry.second.all() == Load{} && entry.second.rate.is_full(limits_.per_second_per_source, now);
  });
}

void Limiter::forget_idle_sources(TimePoint now) {
  if (sources_.size() < forget_at_) return;
  erase_idle_sources(now);
  // Each look costs all entries: the next one waits until as many are new.
  forget_at_ = std::max(limits::rate_sources, sources_.size() * 2);
}

Result<Limiter::Place> Limiter::enter(const IpAddress& source, TimePoint now) {
  const auto plain = source_of(source);
  const std::lock_guard lock(mutex_);
  if (state_.connections >= limits_.total) return shed(Limit::total, fmt::format("{} connections are the most", limits_.total));
  if (state_.handshakes >= limits_.handshakes) {
    return shed(Limit::handshakes, fmt::format("{} connections are still in their handshakes", state_.handshakes));
  }
  forget_idle_sources(now);
  auto& mine = sources_[plain];
  // What a source has too much of is told before it takes from what all share.
  if (!mine.rate.take(limits_.per_second_per_source, now)) {
    return shed(Limit::rate_per_source, fmt::format("{} connections a second from {} are the most", limits_.per_second_per_source, plain.text()));
  }
  const auto all = mine.all();
  if (all.connections >= limits_.per_source) {
    return shed(Limit::per_source, fmt::format("{} connections from {} are the most", limits_.per_source, plain.text()));
  }
  if (all.handshakes >= limits_.handshakes_per_source) {
    return shed(Limit::handshakes_per_source,
                fmt::format("{} connections from {} are still in their handshakes", all.handshakes, plain.text()));
  }
  if (!rate_.take(limits_.per_second, now)) {
    return shed(Limit::rate, fmt::format("{} connections a second are the most", limits_.per_second));
  }
  ++mine.connections;
  ++mine.handshakes;
  ++state_.connections;
  ++state_.handshakes;
  Place place;
  place.limiter_ = this;
  place.source_ = plain;
  place.handshake_ = true;
  return place;
}

Limiter::Place Limiter::readmit(const IpAddress& source) {
  const auto plain = source_of(source);
  const std::lock_guard lock(mutex_);
  ++sources_[plain].connections;
  ++state_.connections;
  Place place;
  place.limiter_ = this;
  place.source_ = plain;
  return place;
}

Result<Limiter::Place> Limiter::enter_route(const std::string& route, std::uint32_t most) {
  const std::lock_guard lock(mutex_);
  auto& count = routes_[route];
  const auto elsewhere = routes_elsewhere_.find(route);
  const auto all = count + (elsewhere != routes_elsewhere_.end() ? elsewhere->second : 0);
  if (most != 0 && all >= most) return shed(Limit::route, fmt::format("{} connections of route {} are the most", most, route));
  ++count;
  Place place;
  place.limiter_ = this;
  place.route_ = route;
  return place;
}

std::uint32_t Limiter::total() const {
  const std::lock_guard lock(mutex_);
  return state_.connections;
}

Limiter::State Limiter::state() const {
  const std::lock_guard lock(mutex_);
  auto made = state_;
  made.sources = sources_.size();
  return made;
}

}  // namespace epif::net
