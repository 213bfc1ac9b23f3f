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
  left = std::max(0.0, std::min(most, content(per_second, now)));
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
  // Those that come to hold something; what falls is always taken.
  const auto comes = std::ranges::count_if(held.sources, [this](const auto& told) {
    const auto known = sources_.find(source_of(told.first));
    return told.second != Load{} && (known == sources_.end() || known->second.elsewhere == Load{});
  });
  if (sources_elsewhere_ + static_cast<std::size_t>(comes) > limits::rate_sources) return too_many("sources");
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
