// What a process tells its successor of its limits, and what the successor makes of it.
#include <algorithm>

#include "net/limiter.h"

namespace epif::net {
namespace {

std::unexpected<Error> too_many(std::string_view of) {
  return fail(Code::limit, "the old process holds more than can be counted here", std::string(of));
}

}  // namespace

Limiter::Load Limiter::Source::all() const {
  return {connections + elsewhere.connections, handshakes + elsewhere.handshakes, memory + elsewhere.memory};
}

void Limiter::Bucket::lower_to(double most, std::uint32_t per_second, TimePoint now) {
  left = std::clamp(most, 0.0, content(per_second, now));
  filled = now;
}

Limiter::Held Limiter::held(TimePoint now) {
  const std::lock_guard lock(mutex_);
  erase_idle_sources(now);
  Held made;
  for (const auto& [address, source] : sources_) {
    if (const auto all = source.all(); all != Load{}) made.sources.emplace(address, all);
  }
  made.routes = routes_elsewhere_;
  for (const auto& [route, count] : routes_) {
    if (count > 0) made.routes[route] += count;
  }
  return made;
}

Result<> Limiter::count_elsewhere(const Held& held) {
  const std::lock_guard lock(mutex_);
  // Reckoned as if each were new: a bound that a proper predecessor is far below.
  if (sources_elsewhere_ + held.sources.size() > limits::rate_sources) return too_many("sources");
  if (routes_elsewhere_.size() + held.routes.size() > limits::rate_sources) return too_many("routes");
  for (const auto& [address, load] : held.sources) {
    const auto plain = source_of(address);
    if (load == Load{} && !sources_.contains(plain)) continue;
    auto& there = sources_[plain].elsewhere;
    sources_elsewhere_ -= there != Load{} ? 1 : 0;
    there = load;
    sources_elsewhere_ += there != Load{} ? 1 : 0;
  }
  for (const auto& [route, count] : held.routes) {
    if (count > 0) {
      routes_elsewhere_[route] = count;
    } else {
      routes_elsewhere_.erase(route);
    }
  }
  return {};
}

void Limiter::forget_elsewhere() {
  const std::lock_guard lock(mutex_);
  for (auto& [address, source] : sources_) source.elsewhere = {};
  sources_elsewhere_ = 0;
  routes_elsewhere_.clear();
}

Limiter::Rates Limiter::rates(TimePoint now) const {
  const std::lock_guard lock(mutex_);
  Rates made;
  made.all = rate_.content(limits_.per_second, now);
  for (const auto& [address, source] : sources_) {
    if (const auto left = source.rate.content(limits_.per_second_per_source, now); left < limits_.per_second_per_source) {
      made.sources.emplace(address, left);
    }
  }
  return made;
}

Result<> Limiter::follow_rates(const Rates& rates, TimePoint now) {
  const std::lock_guard lock(mutex_);
  if (sources_.size() + rates.sources.size() > 2 * limits::rate_sources) return too_many("sources");
  rate_.lower_to(rates.all, limits_.per_second, now);
  for (const auto& [address, left] : rates.sources) {
    sources_[source_of(address)].rate.lower_to(left, limits_.per_second_per_source, now);
  }
  return {};
}

}  // namespace epif::net
