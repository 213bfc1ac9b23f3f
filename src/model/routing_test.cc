#include "model/routing.h"

#include <gtest/gtest.h>

#include "model/reverse_allowance.h"

namespace epif {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

const sys_seconds now{seconds(1'800'000'000)};

Route make_route(std::string id, std::string_view destination) {
  Route route;
  route.id = std::move(id);
  route.destination = *CaptureTarget::parse(destination);
  route.sources = {*Cidr::parse("10.1.0.0/16")};
  route.peers = {"umc/modality"};
  return route;
}

Asker clear(std::string_view address, std::string_view flow = {}) { return {{}, *IpAddress::parse(address), flow}; }
Asker certified(std::string_view identity, std::string_view flow = {}) { return {Identity(identity), {}, flow}; }

std::string found(const std::shared_ptr<const Routing>& routing, const Asker& asker, std::string_view destination) {
  const auto route = routing->find(asker, *Destination::parse(destination), now);
  return route ? (*route)->id : std::string(name(route.error().code));
}

TEST(Routing, NothingIsPermittedByDefault) {
  EXPECT_EQ(found(Routing::of({}), clear("10.1.0.1"), "10.2.0.10:80"), "no_route");
  Route for_nobody = make_route("a", "10.2.0.10:80");
  for_nobody.sources.clear();
  for_nobody.peers.clear();
  EXPECT_EQ(found(Routing::of({"", 0, {for_nobody}, {}}), clear("10.1.0.1"), "10.2.0.10:80"), "no_route");
}

TEST(Routing, InClearTheSourceAddressDecides) {
  const auto routing = Routing::of({"", 0, {make_route("one", "10.2.0.10:80"), make_route("wide", "10.2.0.0/16:8000-8100")}, {}});
  EXPECT_EQ(found(routing, clear("10.1.3.4"), "10.2.0.10:80"), "one");
  EXPECT_EQ(found(routing, clear("::ffff:10.1.3.4"), "10.2.0.10:80"), "one");
  EXPECT_EQ(found(routing, clear("10.1.3.4"), "10.2.7.7:8050"), "wide");
  EXPECT_EQ(found(routing, clear("10.9.0.1"), "10.2.0.10:80"), "no_route");
  EXPECT_EQ(found(routing, clear("10.1.3.4"), "10.2.0.10:81"), "no_route");
}

TEST(Routing, ACertificateNeedsItsOwnEntryAndItsAddressGivesNothing) {
  const auto routing = Routing::of({"", 0, {make_route("one", "10.2.0.10:80")}, {}});
  EXPECT_EQ(found(routing, certified("umc/modality"), "10.2.0.10:80"), "one");
  auto foreign = certified("vendor/backup");
  foreign.address = *IpAddress::parse("10.1.0.1");
  EXPECT_EQ(found(routing, foreign, "10.2.0.10:80"), "no_route");
}

TEST(Routing, AFlowIdChoosesButGivesNoRight) {
  auto other = make_route("two", "10.2.0.10:80");
  auto foreign = make_route("three", "10.2.0.10:80");
  foreign.peers = {"vendor/backup"};
  const auto routing = Routing::of({"", 0, {make_route("one", "10.2.0.10:80"), other, foreign}, {}});
  EXPECT_EQ(found(routing, certified("umc/modality", "two"), "10.2.0.10:80"), "two");
  EXPECT_EQ(found(routing, certified("umc/modality", "three"), "10.2.0.10:80"), "no_route");
  EXPECT_EQ(found(routing, certified("umc/modality", "two"), "10.2.0.11:80"), "no_route");
  EXPECT_EQ(found(routing, certified("umc/modality", "four"), "10.2.0.10:80"), "no_route");
}

TEST(Routing, NamesMatchTheRoutesNameOnly) {
  auto named = make_route("one", "10.2.0.10:80");
  named.name = "PACS.example";
  const auto routing = Routing::of({"", 0, {named, make_route("wide", "0.0.0.0/0")}, {}});
  EXPECT_EQ(found(routing, clear("10.1.0.1"), "pacs.EXAMPLE.:80"), "one");
  EXPECT_EQ(found(routing, clear("10.1.0.1"), "elsewhere.example:80"), "no_route") << "no name is resolved to decide";
}

TEST(Routing, ARouteAdmitsItsOwnProtocolOnly) {
  auto datagrams = make_route("datagrams", "10.2.0.10:53");
  datagrams.protocol = epif::Protocol::udp;
  const auto routing = Routing::of({"", 0, {datagrams, make_route("stream", "10.2.0.11:53")}, {}});
  auto asker = clear("10.1.0.1");
  EXPECT_EQ(found(routing, asker, "10.2.0.10:53"), "no_route");
  EXPECT_EQ(found(routing, asker, "10.2.0.11:53"), "stream");
  asker.protocol = epif::Protocol::udp;
  EXPECT_EQ(found(routing, asker, "10.2.0.10:53"), "datagrams");
  EXPECT_EQ(found(routing, asker, "10.2.0.11:53"), "no_route");
  asker.flow = "stream";
  EXPECT_EQ(found(routing, asker, "10.2.0.11:53"), "no_route") << "naming the flow changes nothing";
}

TEST(Routing, WhatNginxCarriesIsNotAskedForBySocks) {
  auto route = make_route("a", "10.2.0.10:80");
  route.nginx = NginxPort{*SocketAddress::parse("10.1.0.2:21000"), {*IpAddress::parse("10.1.0.10")}, false};
  const auto routing = Routing::of({"", 0, {route}, {}});
  EXPECT_EQ(found(routing, certified("umc/modality", "a"), "10.2.0.10:80"), "no_route");
  EXPECT_EQ(found(routing, clear("10.1.0.10"), "10.2.0.10:80"), "no_route");
}

TEST(Routing, BlockedAndExpiredRoutesRefuseWithTheirReason) {
  auto blocked = make_route("blocked", "10.2.0.10:80");
  blocked.blocked = "consent revoked";
  auto old = make_route("old", "10.2.0.11:80");
  old.expires = now;
  const auto routing = Routing::of({"", 0, {blocked, old}, {}});
  const auto refused = routing->find(clear("10.1.0.1"), *Destination::parse("10.2.0.10:80"), now);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::denied);
  EXPECT_EQ(refused.error().why, "consent revoked");
  EXPECT_EQ(found(routing, clear("10.1.0.1"), "10.2.0.11:80"), "expired");
}

TEST(Routing, ARefusalExplains) {
  RouteTable table;
  table.refusals.push_back({*CaptureTarget::parse("10.3.0.0/16"), "stroke/backup", "anonymisation is missing"});
  const auto refused = Routing::of(table)->find(clear("10.1.0.1"), *Destination::parse("10.3.0.1:80"), now);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::denied);
  EXPECT_EQ(refused.error().why, "anonymisation is missing");
}

TEST(Routing, AFlowCarriesOnOnlyUnderAnEqualRoute) {
  const auto old = make_route("one", "10.2.0.10:80");
  const auto carries_on = [&](Route changed) { return Routing::of({"", 0, {changed}, {}})->successor(old, now) != nullptr; };
  EXPECT_TRUE(carries_on(old));
  auto renewed = old;
  renewed.expires = now + seconds(60);
  renewed.policy_version = "13";
  EXPECT_TRUE(carries_on(renewed));
  renewed.expires = now - seconds(1);
  EXPECT_FALSE(carries_on(renewed));
  auto blocked = old;
  blocked.blocked = "consent revoked";
  EXPECT_FALSE(carries_on(blocked));
  auto chained = old;
  chained.chain.push_back({"firewall", "f", "/run/f.sock", 0, false, {}, {}});
  EXPECT_FALSE(carries_on(chained));
  EXPECT_FALSE(carries_on(make_route("two", "10.2.0.10:80")));
}

TEST(Routing, AFlowWithoutANameKeepsNothingThatANewOneWouldNotGet) {
  const auto wide = make_route("wide", "10.2.0.0/16");
  auto blocked = make_route("one", "10.2.0.10:80");
  blocked.blocked = "consent withdrawn";
  const auto carries_on = [&](std::vector<Route> table, std::string_view to) {
    return Routing::of({"", 0, std::move(table), {}})->successor(wide, clear("10.1.0.1"), {false, *Destination::parse(to)}, now) != nullptr;
  };
  EXPECT_TRUE(carries_on({wide}, "10.2.0.10:80"));
  EXPECT_FALSE(carries_on({wide, blocked}, "10.2.0.10:80")) << "blocked now";
  EXPECT_TRUE(carries_on({wide, blocked}, "10.2.0.10:81")) << "another port";
  EXPECT_FALSE(carries_on({wide, make_route("one", "10.2.0.10:80")}, "10.2.0.10:80")) << "another way now";
  EXPECT_FALSE(carries_on({make_route("first", "10.2.0.0/16"), wide}, "10.2.0.10:80"));
  EXPECT_TRUE(carries_on({wide, make_route("second", "10.2.0.0/16")}, "10.2.0.10:80"));
  auto foreign = make_route("one", "10.2.0.10:80");
  foreign.sources = {*Cidr::parse("10.9.0.0/16")};
  EXPECT_TRUE(carries_on({foreign, wide}, "10.2.0.10:80")) << "for others";
}

TEST(Routing, AWaitingBindKeepsNothingThatANewOneWouldNotGet) {
  auto wide = make_route("wide", "10.2.0.0/16");
  wide.bind = true;
  auto first = make_route("first", "10.2.0.10:80");
  first.bind = true;
  first.blocked = "consent withdrawn";
  const auto carries_on = [&](std::vector<Route> table, std::optional<Destination> host) {
    return Routing::of({"", 0, std::move(table), {}})->successor(wide, clear("10.1.0.1"), {true, std::move(host)}, now) != nullptr;
  };
  EXPECT_TRUE(carries_on({wide}, std::nullopt));
  EXPECT_FALSE(carries_on({first, wide}, std::nullopt));
  EXPECT_TRUE(carries_on({first, wide}, *Destination::parse("10.2.0.11:80")));
}

TEST(Routing, ARouteOutlivesItsTableWhileAFlowHoldsIt) {
  auto routing = Routing::of({"", 0, {make_route("one", "10.2.0.10:80")}, {}});
  const auto route = routing->find(clear("10.1.0.1"), *Destination::parse("10.2.0.10:80"), now);
  routing.reset();
  ASSERT_TRUE(route);
  EXPECT_EQ((*route)->id, "one");
}

TEST(ReverseLimit, IsTheLargerOfAMebibyteAndFivePercent) {
  Route route;
  EXPECT_EQ(reverse_allowance(route, 0), 1024u * 1024);
  EXPECT_EQ(reverse_allowance(route, 1'000'000'000), 50'000'000u);
  route.limits.reverse_bytes = 10;
  EXPECT_EQ(reverse_allowance(route, 1'000'000'000), 10u);
}

}  // namespace
}  // namespace epif
