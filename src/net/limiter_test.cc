#include "net/limiter.h"

#include <gtest/gtest.h>

namespace epif::net {
namespace {

TEST(Limiter, PlacesAreLimitedInAllBySourceAndByRouteAndComeBack) {
  Limiter limiter({3, 2});
  const auto one = *IpAddress::parse("10.0.0.1");
  const auto two = *IpAddress::parse("10.0.0.2");
  auto first = limiter.enter(one);
  auto second = limiter.enter(*IpAddress::parse("::ffff:10.0.0.1"));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(limiter.enter(one).error().code, Code::limit) << "per source";
  auto third = limiter.enter(two);
  ASSERT_TRUE(third);
  EXPECT_FALSE(limiter.enter(*IpAddress::parse("10.0.0.3"))) << "in all";
  *first = {};
  EXPECT_EQ(limiter.total(), 2u);
  EXPECT_TRUE(limiter.enter(one));
  auto route = limiter.enter_route("a", 1);
  ASSERT_TRUE(route);
  EXPECT_FALSE(limiter.enter_route("a", 1));
  *route = {};
  EXPECT_TRUE(limiter.enter_route("a", 1));
}

TEST(Limiter, ABlockOf64BitsOfIpv6IsOneSource) {
  Limiter limiter({10, 2});
  const auto first = limiter.enter(*IpAddress::parse("2001:db8:1:2::1"));
  const auto second = limiter.enter(*IpAddress::parse("2001:db8:1:2:ffff::1"));
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(limiter.enter(*IpAddress::parse("2001:db8:1:2:8000::")));
  EXPECT_TRUE(limiter.enter(*IpAddress::parse("2001:db8:1:3::1"))) << "another block";
  EXPECT_EQ(source_of(*IpAddress::parse("::ffff:10.0.0.1")).text(), "10.0.0.1");
  EXPECT_EQ(source_of(*IpAddress::parse("2001:db8:1:2::1")).text(), "2001:db8:1:2::");
}

TEST(Limiter, HandshakesCountUntilTheyAreOver) {
  Limiter limiter({10, 10, 3, 2});
  const auto one = *IpAddress::parse("10.0.0.1");
  auto first = limiter.enter(one);
  auto second = limiter.enter(one);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(limiter.enter(one)) << "per source";
  first->handshake_over();
  first->handshake_over();
  EXPECT_EQ(limiter.state().handshakes, 1u);
  auto third = limiter.enter(one);
  auto fourth = limiter.enter(*IpAddress::parse("10.0.0.2"));
  ASSERT_TRUE(third && fourth);
  EXPECT_FALSE(limiter.enter(*IpAddress::parse("10.0.0.3"))) << "in all";
  *third = {};
  EXPECT_TRUE(limiter.enter(*IpAddress::parse("10.0.0.3")));
  EXPECT_EQ(limiter.state().shed[static_cast<std::size_t>(Limiter::Limit::handshakes_per_source)], 1u);
  EXPECT_EQ(limiter.state().shed[static_cast<std::size_t>(Limiter::Limit::handshakes)], 1u);
}

TEST(Limiter, RatesAreBoundedBySourceAndInAllAndComeBackWithTime) {
  Limiter limiter({1000, 1000, 1000, 1000, 15, 10});
  const auto one = *IpAddress::parse("10.0.0.1");
  const auto start = Clock::now();
  const auto accepted = [&](const IpAddress& source, TimePoint when, int times) {
    int count = 0;
    for (int i = 0; i < times; ++i) count += limiter.enter(source, when).has_value();
    return count;
  };
  EXPECT_EQ(accepted(one, start, 100), 10);
  EXPECT_EQ(accepted(*IpAddress::parse("10.0.0.2"), start, 100), 5) << "in all";
  EXPECT_EQ(accepted(one, start + std::chrono::milliseconds(500), 100), 5) << "half a second brings half";
  EXPECT_EQ(accepted(one, start + std::chrono::seconds(60), 100), 10) << "no more is saved up";
  EXPECT_EQ(limiter.state().connections, 0u);
}

TEST(Limiter, UnreadBytesAreBoundedBySourceAndInAll) {
  Limiter limiter({10, 10, 10, 10, 100, 100, 300, 200});
  auto one = limiter.enter(*IpAddress::parse("10.0.0.1"));
  auto two = limiter.enter(*IpAddress::parse("10.0.0.2"));
  ASSERT_TRUE(one && two);
  EXPECT_TRUE(one->hold(200));
  EXPECT_FALSE(one->hold(201));
  EXPECT_EQ(limiter.state().memory, 200u);
  EXPECT_FALSE(two->hold(101));
  EXPECT_TRUE(two->hold(100));
  EXPECT_TRUE(one->hold(50));
  EXPECT_TRUE(two->hold(200));
  *two = {};
  EXPECT_EQ(limiter.state().memory, 50u);
  *one = {};
  EXPECT_EQ(limiter.state().memory, 0u);
}

}  // namespace
}  // namespace epif::net
