#include "net/limiter.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

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

TEST(Limiter, WhatASourceOrARouteHoldsElsewhereCountsAndNobodyElsesTotalDoes) {
  Limiter limiter({.total = 3, .per_source = 2, .handshakes = 3, .handshakes_per_source = 2, .memory_per_source = 100});
  const auto one = *IpAddress::parse("10.0.0.1");
  const auto two = *IpAddress::parse("10.0.0.2");
  const auto count = [&](std::uint32_t connections, std::uint32_t handshakes, std::size_t memory, std::uint32_t route) {
    return limiter.count_elsewhere({.sources = {{one, {connections, handshakes, memory}}}, .routes = {{"a", route}}}).has_value();
  };
  ASSERT_TRUE(count(1, 0, 90, 1));
  auto mine = limiter.enter(one);
  ASSERT_TRUE(mine);
  EXPECT_FALSE(limiter.enter(one)) << "one there, one here";
  EXPECT_FALSE(mine->hold(11)) << "90 bytes there";
  EXPECT_TRUE(mine->hold(10));
  EXPECT_FALSE(limiter.enter_route("a", 1));
  EXPECT_TRUE(limiter.enter_route("a", 2));
  EXPECT_EQ(limiter.total(), 1u) << "of this process";
  EXPECT_TRUE(limiter.enter(two));
  EXPECT_EQ(limiter.held().sources.at(one), (Limiter::Load{2, 1, 100})) << "told to a third process with what is held here";
  EXPECT_EQ(limiter.held().routes.at("a"), 1u);
  ASSERT_TRUE(count(0, 1, 0, 0));
  EXPECT_FALSE(limiter.held().routes.contains("a"));
  EXPECT_TRUE(limiter.enter_route("a", 1));
  auto second = limiter.enter(one);
  EXPECT_FALSE(second) << "one handshake there, one here";
  limiter.forget_elsewhere();
  EXPECT_TRUE(limiter.enter(one));
  *mine = {};
  EXPECT_TRUE(limiter.held(Clock::now() + std::chrono::seconds(2)).sources.empty());
  EXPECT_EQ(limiter.state().sources, 0u) << "who is idle is forgotten";
}

TEST(Limiter, MoreSourcesThanAreRememberedAreNotCounted) {
  Limiter limiter({10, 1});
  Limiter::Held all;
  for (std::uint32_t i = 0; i <= limits::rate_sources; ++i) {
    std::array<std::uint8_t, 4> bytes{};
    store_u32(bytes.data(), i);
    all.sources[IpAddress::v4(bytes)] = {1, 0, 0};
  }
  EXPECT_FALSE(limiter.count_elsewhere(all));
  EXPECT_EQ(limiter.state().sources, 0u);
  all.sources.erase(all.sources.begin());
  EXPECT_TRUE(limiter.count_elsewhere(all));
  EXPECT_TRUE(limiter.count_elsewhere(all)) << "the same once more";
  for (auto& [address, load] : all.sources) load = {};
  EXPECT_TRUE(limiter.count_elsewhere(all)) << "what falls is always taken";
  EXPECT_TRUE(limiter.held(Clock::now() + std::chrono::seconds(2)).sources.empty());
}

TEST(Limiter, RatesGoOnWhereTheyWere) {
  Limiter before({1000, 1000, 1000, 1000, 15, 10});
  Limiter after({1000, 1000, 1000, 1000, 15, 10});
  const auto one = *IpAddress::parse("10.0.0.1");
  const auto start = Clock::now();
  const auto accepted = [&](Limiter& limiter, const IpAddress& source, TimePoint when) {
    int count = 0;
    for (int i = 0; i < 100; ++i) count += limiter.enter(source, when).has_value();
    return count;
  };
  EXPECT_EQ(accepted(before, one, start), 10);
  const auto half = start + std::chrono::milliseconds(100);
  ASSERT_TRUE(after.follow_rates(before.rates(half), half));
  EXPECT_EQ(accepted(after, one, half), 1) << "a tenth of a second brought one";
  EXPECT_EQ(accepted(after, *IpAddress::parse("10.0.0.2"), half), 5) << "in all";
  EXPECT_EQ(accepted(after, one, start + std::chrono::seconds(9)), 10) << "and no less than ever afterwards";
}

TEST(Limiter, RatesThatAreReadAfterALaterEntryTakeNothingBelowNothing) {
  Limiter before({1000, 1000, 1000, 1000, 15, 10});
  Limiter after({1000, 1000, 1000, 1000, 15, 10});
  const auto one = *IpAddress::parse("10.0.0.1");
  const auto start = Clock::now();
  const auto later = start + std::chrono::milliseconds(90);
  for (int i = 0; i < 20; ++i) {
    static_cast<void>(before.enter(one, start));
    static_cast<void>(after.enter(one, later));
  }
  ASSERT_TRUE(after.follow_rates(before.rates(start), start));
  EXPECT_FALSE(after.enter(one, start));
  EXPECT_TRUE(after.enter(one, later + std::chrono::milliseconds(110)));
}

}  // namespace
}  // namespace epif::net
