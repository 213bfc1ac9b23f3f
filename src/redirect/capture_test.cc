#include "redirect/capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace epif::redirect {
namespace {

using testing::HasSubstr;
using testing::Not;

CaptureTarget target(std::string_view text) { return *CaptureTarget::parse(text); }

CaptureRules rules(std::vector<CaptureTarget> targets) {
  return {15001, std::move(targets), {target("10.3.0.30:1080")}};
}

/// The lines of one chain.
std::string chain(const std::string& script, std::string_view table, std::string_view name) {
  const auto table_at = script.find("table " + std::string(table) + " epif_redirect_15001 {");
  const auto begin = script.find("chain " + std::string(name) + " {", table_at);
  if (table_at == script.npos || begin == script.npos) return {};
  return script.substr(begin, script.find("\n  }\n", begin) - begin);
}

TEST(Capture, ReplacesBothTablesInOneTransaction) {
  const auto script = install_script(rules({target("10.2.0.20")}), {"eth0"});
  EXPECT_TRUE(script.starts_with(
      "add table inet epif_redirect_15001\ndelete table inet epif_redirect_15001\n"
      "add table netdev epif_redirect_15001\ndelete table netdev epif_redirect_15001\n"));
  EXPECT_THAT(script, HasSubstr("table inet epif_redirect_15001 {"));
  EXPECT_THAT(script, HasSubstr("devices = { \"eth0\" }"));
}

TEST(Capture, RedirectsTcpOfEachTargetInItsFamily) {
  const auto nat = chain(install_script(rules({target("10.2.0.0/16"), target("[fd09::5]:80-90")}), {}), "inet", "capture");
  EXPECT_THAT(nat, HasSubstr("ip daddr 10.2.0.0/16 meta l4proto tcp redirect to :15001"));
  EXPECT_THAT(nat, HasSubstr("ip6 daddr fd09::5/128 tcp dport 80-90 redirect to :15001"));
}

TEST(Capture, OwnTrafficNeedsMarkAndDestination) {
  const auto script = install_script(rules({target("10.0.0.0/8")}), {"eth0"});
  const auto own = "meta mark 0xe91f ip daddr 10.3.0.30/32 tcp dport 1080 ";
  EXPECT_THAT(chain(script, "inet", "capture"), HasSubstr(std::string(own) + "return"));
  EXPECT_THAT(chain(script, "inet", "guard_output"), HasSubstr(std::string(own) + "accept"));
  EXPECT_THAT(chain(script, "netdev", "guard_egress"), HasSubstr(std::string(own) + "accept"));
  EXPECT_THAT(chain(script, "inet", "guard_forward"), Not(HasSubstr("mark")));
}

TEST(Capture, WithoutPortsNothingReturnsFromATarget) {
  const auto script = install_script(rules({target("10.2.0.20")}), {"eth0"});
  EXPECT_THAT(chain(script, "inet", "target0"), Not(HasSubstr("return")));
  EXPECT_THAT(chain(script, "netdev", "target0"), HasSubstr("drop"));
}

TEST(Capture, WithPortsOnlyProtocolsThatHavePortsPass) {
  const auto script = install_script(rules({target("10.2.0.20:443")}), {"eth0"});
  for (const auto* table : {"inet", "netdev"}) {
    EXPECT_THAT(chain(script, table, "target0"),
                HasSubstr("meta l4proto { tcp, udp, udplite, sctp, dccp } th dport != 443 return"));
    EXPECT_THAT(chain(script, table, "target0"), HasSubstr("counter drop"));
  }
}

TEST(Capture, BlocksOfOddLengthAreComparedBitByBit) {
  const auto disguised = chain(install_script(rules({target("10.2.160.0/20"), target("10.2.0.0/15")}), {"eth0"}), "netdev", "disguised");
  EXPECT_THAT(disguised, HasSubstr("@nh,128,20 0x0a02a counter drop"));
  EXPECT_THAT(disguised, HasSubstr("@nh,128,15 0x0501 counter drop"));
}

TEST(Capture, WithoutDevicesThereIsNoEgressChain) {
  const auto script = install_script(rules({target("10.2.0.20")}), {});
  EXPECT_THAT(script, Not(HasSubstr("table netdev epif_redirect_15001 {")));
}

}  // namespace
}  // namespace epif::redirect
