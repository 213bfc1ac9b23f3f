#include "redirect/stand_ins.h"

#include <gtest/gtest.h>

namespace epif::redirect {
namespace {

CaptureTarget target(std::string_view text) { return *CaptureTarget::parse(text); }
SocketAddress address(std::string_view text) { return *SocketAddress::parse(text); }

TEST(StandIns, AreLearnedWhereTheRulesRedirectAndNowhereElse) {
  CaptureRules rules;
  EXPECT_FALSE(redirects(rules, address("10.2.0.20:80")));
  rules.targets = {target("10.2.0.0/16"), target("10.3.0.3:80-90")};
  EXPECT_TRUE(redirects(rules, address("10.2.0.20:80")));
  EXPECT_TRUE(redirects(rules, address("10.3.0.3:90")));
  EXPECT_FALSE(redirects(rules, address("10.3.0.3:91")));
  EXPECT_FALSE(redirects(rules, address("10.4.0.1:80")));
}

TEST(StandIns, AreNotLearnedForWhatIsExcludedOrGoesToNginxOrToOurDns) {
  CaptureRules rules;
  rules.targets = {target("10.2.0.0/16")};
  rules.excluded = {target("10.2.9.0/24"), target("10.2.0.20:22")};
  rules.diversions = {{address("10.2.0.20:8042"), address("10.1.0.2:20000")}};
  EXPECT_FALSE(redirects(rules, address("10.2.9.1:80")));
  EXPECT_FALSE(redirects(rules, address("10.2.0.20:22")));
  EXPECT_FALSE(redirects(rules, address("10.2.0.20:8042")));
  EXPECT_TRUE(redirects(rules, address("10.2.0.20:53")));
  rules.dns_port = 15053;
  EXPECT_FALSE(redirects(rules, address("10.2.0.20:53")));
  EXPECT_TRUE(redirects(rules, address("10.2.0.20:80")));
}

TEST(StandIns, LieInTheirBlockOfLoopback) {
  EXPECT_TRUE(net::is_stand_in(*IpAddress::parse("127.119.0.1")));
  EXPECT_FALSE(net::is_stand_in(*IpAddress::parse("127.120.0.1")));
  EXPECT_FALSE(net::is_stand_in(*IpAddress::parse("127.0.0.1")));
  EXPECT_FALSE(net::is_stand_in(*IpAddress::parse("::1")));
  EXPECT_TRUE(Cidr::parse(net::stand_in_block)->contains(*IpAddress::parse("127.119.255.255")));
}

}  // namespace
}  // namespace epif::redirect
