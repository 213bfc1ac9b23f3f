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
  const auto route = routes.find(*SocketAddress::parse(address), noon);
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
  EXPECT_EQ(table.find(*SocketAddress::parse("10.2.0.1:1"), noon).error().why, "consent revoked");
  EXPECT_EQ(found(table, "10.2.0.2:1"), "expired");
  EXPECT_EQ(found(table, "10.2.0.3:1"), "c");
  EXPECT_EQ(table.next_expiry(noon), noon + std::chrono::seconds(1));
}

TEST(Routes, RefusedDestinationsAreCapturedToo) {
  RouteTable table;
  table.routes = {route("a", "10.2.0.1"), route("b", "10.2.0.1")};
  table.refusals = {{*CaptureTarget::parse("10.2.0.9:80"), "app/flow", "no permit"}};
  const Routes made(std::move(table));
  ASSERT_EQ(made.targets().size(), 2u);
  EXPECT_EQ(made.targets()[1].text(), "10.2.0.9/32:80");
  EXPECT_NE(made.find(*SocketAddress::parse("10.2.0.9:80"), noon).error().why.find("no permit"), std::string::npos);
}

TEST(Routes, OwnTrafficGoesToProxiesAndToDirectDestinations) {
  auto direct = route("d", "10.2.0.0/24:80");
  direct.next.reset();
  const auto own = routes({route("a", "10.2.0.1"), route("b", "10.2.0.2"), direct}).own();
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
