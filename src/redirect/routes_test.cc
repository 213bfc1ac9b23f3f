#include "redirect/routes.h"

#include <gtest/gtest.h>

namespace epif::redirect {
namespace {

using std::chrono::sys_seconds;

constexpr sys_seconds noon{std::chrono::seconds(1'800'000'000)};

Route route(std::string id, std::string_view destination) {
  Route made;
  made.id = std::move(id);
  made.destination = *CaptureTarget::parse(destination);
  made.next = NextHop{*SocketAddress::parse("10.3.0.30:1083"), "research/proxy", {}};
  return made;
}

Routes routes(std::vector<Route> list) {
  RouteTable table;
  table.routes = std::move(list);
  return Routes(std::move(table));
}

std::string found(const Routes& routes, std::string_view address) {
  const auto route = routes.find({*SocketAddress::parse(address)}, noon);
  return route ? (*route)->id : std::string(name(route.error().code));
}

TEST(Routes, TheNarrowestBlockThenTheFewestPortsWin) {
  const auto table = routes({route("wide", "10.0.0.0/8"), route("host", "10.2.0.20"), route("port", "10.2.0.20:443"),
                             route("six", "fd09::/64")});
  EXPECT_EQ(found(table, "10.9.9.9:1"), "wide");
  EXPECT_EQ(found(table, "10.2.0.20:80"), "host");
  EXPECT_EQ(found(table, "10.2.0.20:443"), "port");
  EXPECT_EQ(found(table, "[fd09::1]:443"), "six");
  EXPECT_EQ(found(table, "[::ffff:10.2.0.20]:443"), "port");
  EXPECT_EQ(found(table, "11.0.0.1:1"), "no_route");
}

TEST(Routes, WhatIsBlockedOrExpiredIsRefusedWithItsReason) {
  auto blocked = route("a", "10.2.0.1");
  blocked.blocked = "consent revoked";
  auto expired = route("b", "10.2.0.2");
  expired.expires = noon;
  auto valid = route("c", "10.2.0.3");
  valid.expires = noon + std::chrono::seconds(1);
  const auto table = routes({blocked, expired, valid});
  EXPECT_EQ(found(table, "10.2.0.1:1"), "denied");
  EXPECT_EQ(table.find({*SocketAddress::parse("10.2.0.1:1")}, noon).error().why, "consent revoked");
  EXPECT_EQ(found(table, "10.2.0.2:1"), "expired");
  EXPECT_EQ(found(table, "10.2.0.3:1"), "c");
  EXPECT_EQ(table.next_expiry(noon), noon + std::chrono::seconds(1));
}

TEST(Routes, WhatNginxCarriesIsTheKernelsAndNeverPassesUsStraight) {
  auto carried = route("a", "10.2.0.1:80");
  carried.next.reset();
  carried.nginx = NginxPort{*SocketAddress::parse("10.3.0.30:21000"), {*IpAddress::parse("10.1.0.10")}, false};
  auto twice = carried;
  twice.id = "twice";
  twice.nginx->listen.port = 21001;
  auto blocked = carried;
  blocked.destination = *CaptureTarget::parse("10.2.0.2:80");
  blocked.blocked = "consent revoked";
  auto expired = carried;
  expired.destination = *CaptureTarget::parse("10.2.0.3:80");
  expired.expires = noon;
  const auto table = routes({carried, twice, blocked, expired});
  EXPECT_EQ(table.diversions(noon), (std::vector<Diversion>{{*SocketAddress::parse("10.2.0.1:80"), *SocketAddress::parse("10.3.0.30:21000")}}));
  EXPECT_TRUE(table.own(noon).empty()) << "no marked connection goes to the server itself";
  EXPECT_EQ(table.targets().size(), 3u) << "what is not sent to NGINX is captured and refused";
  EXPECT_EQ(found(table, "10.2.0.1:80"), "denied");
  EXPECT_EQ(found(table, "10.2.0.3:80"), "expired");
}

TEST(Routes, TheKernelSendsNothingToNginxThatAnotherRouteOrRefusalNamesAsNarrowly) {
  auto carried = route("ng", "10.2.0.1:80");
  carried.next.reset();
  carried.nginx = NginxPort{*SocketAddress::parse("10.3.0.30:21000"), {*IpAddress::parse("10.1.0.10")}, false};
  auto alice = route("alice", "10.2.0.1:80");
  alice.selector.users = {"1001"};
  auto datagrams = route("udp", "10.2.0.1:80");
  datagrams.protocol = Transport::udp;
  EXPECT_EQ(routes({carried, datagrams, route("wide", "10.2.0.0/24")}).diversions(noon).size(), 1u) << "as find() decides";
  EXPECT_TRUE(routes({carried, alice}).diversions(noon).empty());
  RouteTable table;
  table.routes = {carried};
  table.refusals = {{*CaptureTarget::parse("10.2.0.1:80"), "app/flow", "no permit"}};
  EXPECT_TRUE(Routes(std::move(table)).diversions(noon).empty());
}

TEST(Routes, AnExpiredDirectRouteOpensNoWay) {
  auto direct = route("d", "10.2.0.0/24:80");
  direct.next.reset();
  direct.expires = noon;
  auto datagrams = direct;
  datagrams.protocol = Transport::udp;
  const auto table = routes({direct, datagrams});
  EXPECT_EQ(table.own(noon - std::chrono::seconds(1)).size(), 1u);
  EXPECT_TRUE(table.own(noon).empty());
  EXPECT_EQ(table.own_datagrams(false, noon - std::chrono::seconds(1)).size(), 1u);
  EXPECT_TRUE(table.own_datagrams(false, noon).empty());
}

TEST(Routes, AKeptNameHasItsAliasUntilThatIsAnothersAndThenNone) {
  auto named = route("a", "10.200.0.7:80");
  named.name = "DB.example.";
  auto made = routes({named});
  const auto alias = *IpAddress::parse("10.200.0.7");
  made.keep_names({{"db.example", *IpAddress::parse("10.200.0.1")}, {"old.example", *IpAddress::parse("10.200.0.2")}, {"gone.example", alias}});
  const auto names = made.names();
  EXPECT_EQ(names.at("db.example"), std::vector{alias}) << "what a route says counts";
  EXPECT_EQ(names.at("old.example"), std::vector{*IpAddress::parse("10.200.0.2")});
  EXPECT_TRUE(names.at("gone.example").empty());
}

TEST(Routes, AKeptNameDoesNotLeadToAMachineThatHasItsAddressByNow) {
  auto made = routes({route("a", "10.200.0.7:80"), route("b", "10.200.1.0/24")});
  made.keep_names({{"gone.example", *IpAddress::parse("10.200.0.7")},
                   {"old.example", *IpAddress::parse("10.200.0.8")},
                   {"within.example", *IpAddress::parse("10.200.1.9")}});
  const auto names = made.names();
  EXPECT_TRUE(names.at("gone.example").empty());
  EXPECT_TRUE(names.at("within.example").empty()) << "a route leads to all of the block";
  EXPECT_FALSE(names.at("old.example").empty());
}

TEST(Routes, AKeptNameWhoseAliasIsRefusedByItselfHasNoneAndStaysWithoutOne) {
  RouteTable table;
  const auto address = [](const char* text) { return *IpAddress::parse(text); };
  table.refusals = {{*CaptureTarget::parse("10.200.0.1"), "", "given back"},
                    {*CaptureTarget::parse("10.200.0.2:80"), "app/flow", "no permit"},
                    {*CaptureTarget::parse("10.9.0.9"), "", "a node of another domain"},
                    {*CaptureTarget::parse("10.200.0.0/16"), "", "no flow"}};
  Routes made(std::move(table));
  made.keep_names({{"back.example", address("10.200.0.1")},
                   {"denied.example", address("10.200.0.2")},
                   {"own.example", address("10.9.0.9")},
                   {"before.example", IpAddress()},
                   {"before.example", address("10.200.0.3")}});
  const auto names = made.names();
  EXPECT_TRUE(names.at("back.example").empty());
  EXPECT_EQ(names.at("denied.example"), std::vector{address("10.200.0.2")});
  EXPECT_EQ(names.at("own.example"), std::vector{address("10.9.0.9")}) << "a machine's own address is no alias";
  EXPECT_TRUE(names.at("before.example").empty());
}

TEST(Routes, RefusedDestinationsAreCapturedToo) {
  RouteTable table;
  table.routes = {route("a", "10.2.0.1"), route("b", "10.2.0.1")};
  table.refusals = {{*CaptureTarget::parse("10.2.0.9:80"), "app/flow", "no permit"}};
  const Routes made(std::move(table));
  ASSERT_EQ(made.targets().size(), 2u);
  EXPECT_EQ(made.targets()[1].text(), "10.2.0.9/32:80");
  EXPECT_NE(made.find({*SocketAddress::parse("10.2.0.9:80")}, noon).error().why.find("no permit"), std::string::npos);
}

std::string found_for(const Routes& routes, const Program* who, Transport transport = Transport::tcp) {
  const auto route = routes.find({*SocketAddress::parse("10.2.0.1:80"), transport, who}, noon);
  return route ? (*route)->id : std::string(name(route.error().code));
}

TEST(Routes, ASelectorTellsProgramsApartAndFitsNobodyUnknown) {
  auto alice = route("alice", "10.2.0.1:80");
  alice.selector.users = {"1001"};
  auto lab = route("lab", "10.2.0.1:80");
  lab.selector.cgroups = {"lab.slice/"};
  const auto table = routes({alice, lab});
  EXPECT_TRUE(table.asks_who(Transport::tcp, *SocketAddress::parse("10.2.0.1:80")));
  EXPECT_FALSE(table.asks_who(Transport::tcp, *SocketAddress::parse("10.2.0.1:81")));
  const Program one{1001, "user.slice"};
  const Program two{1002, "lab.slice/job"};
  const Program neither{1002, "lab.slice.other"};
  const Program root{0, ""};
  EXPECT_EQ(found_for(table, &one), "alice");
  EXPECT_EQ(found_for(table, &two), "lab");
  EXPECT_EQ(found_for(table, &neither), "no_route");
  EXPECT_EQ(found_for(table, &root), "no_route");
  EXPECT_EQ(found_for(table, nullptr), "no_route");
}

TEST(Routes, TheMoreSelectiveOfTwoEqualDestinationsWinsAndBothListsMustFit) {
  auto both = route("both", "10.2.0.1:80");
  both.selector = {{"1001"}, {"lab"}};
  const auto table = routes({route("any", "10.2.0.1:80"), both});
  const Program fits{1001, "lab"};
  const Program elsewhere{1001, "home"};
  EXPECT_EQ(found_for(table, &fits), "both");
  EXPECT_EQ(found_for(table, &elsewhere), "any");
  EXPECT_EQ(found_for(table, nullptr), "any");
}

TEST(Routes, ARouteOfOneProtocolIsNoneForTheOther) {
  auto datagrams = route("udp", "10.2.0.1:80");
  datagrams.protocol = Transport::udp;
  const auto table = routes({datagrams});
  EXPECT_EQ(found_for(table, nullptr, Transport::udp), "udp");
  EXPECT_EQ(found_for(table, nullptr), "no_route");
}

TEST(Routes, AStandaloneNameIsAskedForByNameAndWinsOverItsBlock) {
  Standalone wishes;
  wishes.targets = {*CaptureTarget::parse("10.2.0.1")};
  wishes.names = {{"pacs.research", *IpAddress::parse("10.2.0.1")}};
  wishes.proxy = *SocketAddress::parse("10.3.0.30:1083");
  const auto made = Routes::to_one_proxy(wishes);
  EXPECT_TRUE(made.has_names());
  EXPECT_EQ((*made.find({*SocketAddress::parse("10.2.0.1:80")}, noon))->name, "pacs.research");
}

TEST(Routes, OwnTrafficGoesToProxiesAndToDirectDestinations) {
  auto direct = route("d", "10.2.0.0/24:80");
  direct.next.reset();
  const auto own = routes({route("a", "10.2.0.1"), route("b", "10.2.0.2"), direct}).own(noon);
  ASSERT_EQ(own.size(), 2u);
  EXPECT_EQ(own[0].text(), "10.2.0.0/24:80");
  EXPECT_EQ(own[1].text(), "10.3.0.30/32:1083");
}

TEST(Routes, RenewingAPermitKeepsItAndChangingItDoesNot) {
  const auto before = route("a", "10.2.0.1");
  auto renewed = before;
  renewed.expires = noon;
  renewed.policy_version = "7";
  EXPECT_TRUE(same_permit(before, renewed));
  auto changed = before;
  changed.next->identity = "research/other";
  EXPECT_FALSE(same_permit(before, changed));
  auto blocked = before;
  blocked.blocked = "why";
  EXPECT_FALSE(same_permit(before, blocked));
}

}  // namespace
}  // namespace epif::redirect
