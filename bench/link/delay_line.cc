#include "delay_line.h"

namespace epif::bench {

void DelayLine::put(Bytes frame, Clock::time_point now) {
  if (character_.loss > 0 && std::bernoulli_distribution(character_.loss)(random_)) {
    ++lost_;
    return;
  }
  auto leaves = now;
  if (character_.bits_per_s != 0) {
    const auto time_on_wire = std::chrono::nanoseconds(frame.size() * 8 * 1'000'000'000 / character_.bits_per_s);
    const auto longest_wait = time_on_wire * static_cast<std::int64_t>(character_.queue_frames);
    if (wire_free_ > now + longest_wait) {
      ++lost_;
      return;
    }
    leaves = std::max(wire_free_, now) + time_on_wire;
    wire_free_ = leaves;
  }
  under_way_.push_back({leaves + character_.delay, std::move(frame)});
}

std::optional<Clock::time_point> DelayLine::due() const {
  if (under_way_.empty()) return std::nullopt;
  return under_way_.front().at;
}

std::optional<Bytes> DelayLine::take(Clock::time_point now) {
  if (under_way_.empty() || under_way_.front().at > now) return std::nullopt;
  auto frame = std::move(under_way_.front().frame);
  under_way_.pop_front();
  return frame;
}

}  // namespace epif::bench
