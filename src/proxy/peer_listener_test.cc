#include "proxy/peer_listener.h"

#include <gtest/gtest.h>

namespace epif::proxy {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

TEST(ExpectedPeer, IsOneOfTheHostsInsideOfTheBlock) {
  const ExpectedPeer anyone;
  EXPECT_TRUE(anyone.admits(ip("10.0.0.1")) && anyone.admits(ip("fd00::1")));
  const ExpectedPeer named{{ip("10.0.0.1"), ip("fd00::1")}, {IpAddress{}, 0}};
  EXPECT_TRUE(named.admits(ip("::ffff:10.0.0.1")) && named.admits(ip("fd00::1")));
  EXPECT_FALSE(named.admits(ip("10.0.0.2")));
  const ExpectedPeer routed{{}, *Cidr::parse("10.0.0.0/24")};
  EXPECT_TRUE(routed.admits(ip("10.0.0.77")) && routed.admits(ip("::ffff:10.0.0.77")));
  EXPECT_FALSE(routed.admits(ip("10.0.1.1")) || routed.admits(ip("fd00::1")));
  const ExpectedPeer both{{ip("10.0.1.1")}, *Cidr::parse("10.0.0.0/24")};
  EXPECT_FALSE(both.admits(ip("10.0.1.1"))) << "the route bounds what the client may expect";
}

TEST(OpenPort, ListensForBothFamiliesAndTellsTheAddressThatItWasGiven) {
  const auto port = open_port({}, ip("::ffff:127.0.0.1"), {});
  ASSERT_TRUE(port) << port.error().text();
  EXPECT_EQ(port->bound.ip, ip("127.0.0.1"));
  EXPECT_NE(port->bound.port, 0);
  const auto taken = open_port(port->bound, ip("127.0.0.1"), {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Code::address_in_use);
}

TEST(AddressTowards, IsTheOneThatTheHostWouldSee) {
  EXPECT_EQ(*address_towards(ip("127.0.0.1")), ip("127.0.0.1"));
  EXPECT_EQ(*address_towards(ip("::1")), ip("::1"));
}

}  // namespace
}  // namespace epif::proxy
