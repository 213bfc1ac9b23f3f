#include "association/queued_bytes.h"

#include <gtest/gtest.h>

namespace epif::association {
namespace {

constexpr std::size_t step = limits::udp_queued_step_bytes;

net::Limiter::Limits small() {
  net::Limiter::Limits made{10, 10};
  made.memory = 3 * step;
  made.memory_per_source = 2 * step;
  return made;
}

TEST(QueuedBytes, AreBoundedBySourceAndInAllAndComeBack) {
  net::Limiter limiter(small());
  const auto one = *IpAddress::parse("10.0.0.1");
  const auto two = *IpAddress::parse("10.0.0.2");
  {
    QueuedBytes first(*limiter.enter(one)), second(*limiter.enter(one)), other(*limiter.enter(two));
    EXPECT_TRUE(first.take(1) && second.take(step));
    EXPECT_FALSE(second.take(1)) << "by source";
    EXPECT_EQ(second.bytes(), step);
    EXPECT_TRUE(first.take(step - 1)) << "the step is in hand";
    EXPECT_TRUE(other.take(step));
    EXPECT_FALSE(other.take(1)) << "in all";
    second.give(step);
    EXPECT_TRUE(other.take(step)) << "room again";
    EXPECT_EQ(limiter.state().memory, 3 * step);
  }
  EXPECT_EQ(limiter.state().memory, 0u);
}

TEST(QueuedBytes, WithoutAPlaceAreNotLimited) {
  QueuedBytes free;
  EXPECT_TRUE(free.take(100 * step));
  free.give(100 * step);
  EXPECT_EQ(free.bytes(), 0u);
}

}  // namespace
}  // namespace epif::association
