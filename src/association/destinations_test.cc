#include "association/destinations.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace epif::association {
namespace {

using std::chrono::seconds;

/// Grants 10.2.0.0/16 and the name "server" by route "granted"; counts decisions.
struct World {
  std::shared_ptr<Route> route = std::make_shared<Route>();
  unsigned decisions = 0;
  std::uint64_t gone_bytes = 0;
  net::TimePoint now{seconds(1'000)};
  std::chrono::sys_seconds wall{seconds(1'800'000'000)};
  QueuedBytes queued{};
  Destinations all{[this](const Destination& to) -> Result<RoutePtr> {
                     ++decisions;
                     const auto* ip = std::get_if<IpAddress>(&to.host);
                     const bool granted = ip == nullptr ? std::get<std::string>(to.host) == "server"
                                                        : Cidr::parse("10.2.0.0/16")->contains(*ip);
                     if (!granted) return fail(Code::no_route, "no route", to.text());
                     return RoutePtr(route);
                   },
                   [this](const Destinations::Entry& entry) { gone_bytes += entry.to_server_bytes; },
                   queued};

  World() { route->id = "granted"; }
  Destinations::Admission ask(std::string_view target) {
    const auto to = *Destination::parse(target);
    return all.admit(socks::Target::of(to), now, wall);
  }
};

TEST(Destinations, EachIsDecidedOnceAndARefusalIsToldOnce) {
  World world;
  EXPECT_TRUE(world.ask("10.2.0.1:53").is_new);
  EXPECT_NE(world.ask("10.2.0.1:53").entry, nullptr);
  EXPECT_FALSE(world.ask("10.2.0.1:53").is_new);
  EXPECT_EQ(world.decisions, 1u);
  EXPECT_EQ(world.ask("10.3.0.1:53").news->code, Code::no_route);
  const auto again = world.ask("10.3.0.1:53");
  EXPECT_EQ(again.entry, nullptr);
  EXPECT_FALSE(again.news);
  EXPECT_EQ(world.decisions, 2u);
}

TEST(Destinations, AMappedAddressIsTheSameHost) {
  World world;
  const auto* plain = world.ask("10.2.0.1:53").entry;
  EXPECT_EQ(world.ask("[::ffff:10.2.0.1]:53").entry, plain);
}

TEST(Destinations, AnswersBelongToTheDestinationThatWasAsked) {
  World world;
  auto* entry = world.ask("server:53").entry;
  ASSERT_NE(entry, nullptr);
  const auto at = *SocketAddress::parse("10.2.0.7:53");
  EXPECT_EQ(world.all.answered_by(at, world.wall), nullptr);
  world.all.set_address(*entry, at, world.now);
  EXPECT_EQ(world.all.answered_by(at, world.wall), entry);
  world.all.set_address(*entry, *SocketAddress::parse("10.2.0.8:53"), world.now);
  EXPECT_EQ(world.all.answered_by(at, world.wall), nullptr) << "the name has moved";
}

TEST(Destinations, AnAddressOfTwoIsTheOthersOnceOneIsGoneOrHasMoved) {
  World world;
  const auto at = *SocketAddress::parse("10.2.0.7:53");
  auto* plain = world.ask("10.2.0.7:53").entry;
  auto* named = world.ask("server:53").entry;
  world.all.set_address(*plain, at, world.now);
  world.all.set_address(*named, at, world.now);
  EXPECT_EQ(world.all.answered_by(at, world.wall), named);
  world.all.set_address(*named, *SocketAddress::parse("10.2.0.8:53"), world.now);
  EXPECT_EQ(world.all.answered_by(at, world.wall), plain) << "the name has moved";
  world.all.set_address(*named, at, world.now);
  const auto lost = world.all.adopt([&](const Destinations::Entry& entry) { return entry.asked.is_name() ? RoutePtr() : RoutePtr(world.route); });
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(world.all.answered_by(at, world.wall), plain) << "the name is gone";
  static_cast<void>(world.all.adopt([](const Destinations::Entry&) { return RoutePtr(); }));
  EXPECT_EQ(world.all.answered_by(at, world.wall), nullptr);
}

TEST(Destinations, ARoutePastItsEndDoesNotHideAnotherEntryOfItsAddress) {
  World world;
  const auto at = *SocketAddress::parse("10.2.0.7:53");
  auto* plain = world.ask("10.2.0.7:53").entry;
  world.all.set_address(*plain, at, world.now);
  world.route = std::make_shared<Route>(*world.route);
  world.route->expires = world.wall + seconds(10);
  world.all.set_address(*world.ask("server:53").entry, at, world.now);
  world.wall += seconds(10);
  EXPECT_EQ(world.all.answered_by(at, world.wall), plain);
}

TEST(Destinations, ANewTableKeepsWhatItGrantsAndForgetsRefusals) {
  World world;
  world.ask("10.2.0.1:53").entry->to_server_bytes = 7;
  static_cast<void>(world.ask("10.3.0.1:53"));
  EXPECT_TRUE(world.all.adopt([&](const Destinations::Entry&) { return RoutePtr(world.route); }).empty());
  EXPECT_TRUE(world.ask("10.3.0.1:53").news) << "decided anew";
  const auto lost = world.all.adopt([](const Destinations::Entry&) { return RoutePtr(); });
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].text(), "10.2.0.1:53");
  EXPECT_EQ(world.gone_bytes, 7u);
  EXPECT_EQ(world.all.size(), 0u);
}

TEST(Destinations, ARoutePastItsEndGivesNothingInEitherDirection) {
  World world;
  world.route->expires = world.wall + seconds(10);
  auto* entry = world.ask("10.2.0.1:53").entry;
  const auto at = *SocketAddress::parse("10.2.0.1:53");
  world.all.set_address(*entry, at, world.now);
  world.wall += seconds(10);
  EXPECT_EQ(world.all.answered_by(at, world.wall), nullptr);
  static_cast<void>(world.ask("10.2.0.1:53"));
  EXPECT_EQ(world.decisions, 2u) << "decided again";
}

TEST(Destinations, AFullTableGivesWayOnlyToWhatIsQuiet) {
  World world;
  for (std::size_t i = 0; i < limits::udp_destinations; ++i) {
    ASSERT_NE(world.ask("10.2.0.1:" + std::to_string(i + 1)).entry, nullptr);
  }
  const auto full = world.ask("10.2.0.2:1");
  EXPECT_EQ(full.entry, nullptr);
  EXPECT_TRUE(full.for_limit);
  world.now += seconds(limits::udp_destination_idle_s);
  EXPECT_NE(world.ask("10.2.0.2:1").entry, nullptr);
  EXPECT_EQ(world.all.size(), limits::udp_destinations);
}

TEST(Destinations, WhatWaitsForANameIsBounded) {
  World world;
  auto* entry = world.ask("server:53").entry;
  const Bytes big(limits::udp_waiting_bytes / 2, 1);
  EXPECT_TRUE(world.all.hold(*entry, big, world.now));
  EXPECT_TRUE(world.all.hold(*entry, big, world.now));
  EXPECT_FALSE(world.all.hold(*entry, big, world.now));
  EXPECT_EQ(world.all.take_waiting(*entry).size(), 2u);
  EXPECT_TRUE(world.all.hold(*entry, big, world.now));
}

TEST(Destinations, RefusalsRememberedAreBounded) {
  World world;
  unsigned told = 0;
  for (unsigned port = 1; port <= 2 * limits::udp_denied_remembered; ++port) {
    told += world.ask("10.3.0.1:" + std::to_string(port)).news.has_value();
  }
  EXPECT_EQ(told, limits::udp_denied_remembered);
}

}  // namespace
}  // namespace epif::association
