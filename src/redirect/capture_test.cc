#include "redirect/capture.h"

#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace epif::redirect {
namespace {

using testing::HasSubstr;
using testing::Not;

CaptureTarget target(std::string_view text) { return *CaptureTarget::parse(text); }

CaptureRules rules(std::vector<CaptureTarget> targets) {
  CaptureRules made;
  made.targets = std::move(targets);
  made.own = {target("10.3.0.30:1080")};
  return made;
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

TEST(Capture, StandInsPassOnLoopbackAloneAndUntracked) {
  auto with = rules({target("0.0.0.0/0")});
  EXPECT_THAT(install_script(with, {"eth0"}), Not(HasSubstr("127.119")));
  with.stand_ins = true;
  const auto script = install_script(with, {"eth0"});
  const auto guard = chain(script, "inet", "guard_output");
  EXPECT_THAT(guard, HasSubstr("oif lo ip daddr 127.119.0.0/16 tcp dport 15001 accept"));
  EXPECT_THAT(guard, HasSubstr("oif lo ip saddr 127.119.0.0/16 tcp sport 15001 accept"));
  EXPECT_THAT(chain(script, "inet", "stand_ins"), HasSubstr("oif lo ip daddr 127.119.0.0/16 tcp dport 15001 notrack"));
  EXPECT_THAT(chain(script, "inet", "direct_connect"), HasSubstr("iif lo ip daddr 127.119.0.0/16 tcp dport 15001 accept"));
  EXPECT_THAT(chain(script, "netdev", "leaving"), Not(HasSubstr("127.119")));
}

TEST(Capture, OwnTrafficNeedsMarkAndDestination) {
  const auto script = install_script(rules({target("10.0.0.0/8")}), {"eth0"});
  const auto own = "meta mark 0xe91f ip daddr 10.3.0.30/32 tcp dport 1080 ";
  EXPECT_THAT(chain(script, "inet", "capture"), HasSubstr(std::string(own) + "return"));
  EXPECT_THAT(chain(script, "inet", "guard_output"), HasSubstr(std::string(own) + "accept"));
  EXPECT_THAT(chain(script, "netdev", "leaving"), HasSubstr(std::string(own) + "accept"));
  EXPECT_THAT(chain(script, "inet", "guard_forward"), Not(HasSubstr("mark")));
}

TEST(Capture, WhatBearsTheCaptureMarkLeavesByLoopbackOrNotAtAll) {
  const auto script = install_script(rules({target("10.2.0.20")}), {"eth0"});
  const auto stray = fmt::format("meta mark {:#x} counter drop", capture_mark(15001));
  const auto guard = chain(script, "inet", "guard_postrouting");
  ASSERT_NE(guard.find(stray), guard.npos);
  EXPECT_LT(guard.find("oif lo accept"), guard.find(stray));
  EXPECT_LT(guard.find(stray), guard.find("10.2.0.20"));
  EXPECT_THAT(chain(script, "netdev", "leaving"), HasSubstr(stray));
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

TEST(Capture, ManyDevicesAreSplitOverSeveralChains) {
  std::vector<std::string> devices;
  for (int i = 0; i < 300; ++i) devices.push_back(fmt::format("d{}", i));
  const auto script = install_script(rules({target("10.2.0.20")}), devices);
  EXPECT_THAT(chain(script, "netdev", "guard_egress0"), HasSubstr("\"d127\""));
  EXPECT_THAT(chain(script, "netdev", "guard_egress2"), HasSubstr("\"d299\""));
  EXPECT_THAT(chain(script, "netdev", "guard_egress2"), HasSubstr("jump leaving"));
}

TEST(Capture, ADropFollowsEveryTproxy) {
  auto wish = rules({target("10.2.0.20:9"), target("fd09::/64")});
  wish.gateway = true;
  wish.dns_port = 15053;
  const auto divert = chain(install_script(wish, {}), "inet", "divert");
  std::istringstream lines(divert);
  std::string line, before;
  std::size_t taken = 0;
  while (std::getline(lines, line)) {
    if (const auto at = before.find(" tproxy "); at != before.npos) {
      ++taken;
      EXPECT_EQ(line, before.substr(0, at) + " counter drop");
    }
    before = line;
  }
  EXPECT_EQ(taken, 8u);  // two targets and DNS in two families, TCP and UDP each
}

TEST(Capture, WhatIsExcludedIsNeitherCapturedNorGuarded) {
  auto wish = rules({target("10.0.0.0/8")});
  wish.excluded = {target("10.2.0.53:53"), target("10.9.0.0/16")};
  const auto script = install_script(wish, {"eth0"});
  for (const auto* name : {"capture", "reroute", "divert", "guard_output", "guard_forward", "guard_postrouting"}) {
    const auto text = chain(script, "inet", name);
    const auto excluded = text.find("ip daddr 10.9.0.0/16 ");
    ASSERT_NE(excluded, text.npos) << name;
    EXPECT_LT(excluded, text.find("ip daddr 10.0.0.0/8")) << name;
  }
  EXPECT_THAT(chain(script, "netdev", "leaving"), HasSubstr("ip daddr 10.2.0.53/32 meta l4proto { tcp, udp, udplite, sctp, dccp } th dport 53 accept"));
}

TEST(Capture, ProgramsAreLeftAloneByWhoTheyAreAndThenByAMarkThatNobodyBringsAlong) {
  auto wish = rules({target("10.0.0.0/8:80")});
  EXPECT_THAT(install_script(wish, {"eth0"}), Not(HasSubstr("excluded_programs")));
  wish.programs.users = {7, 9};
  wish.programs.cgroups = {
      {"a.slice/b", "/sys/fs/cgroup/unified/a.slice/b", 42}, {"gone", "/sys/fs/cgroup/gone", 0}, {"far", "/mnt/far", 43}};
  wish.programs.mark = 0xABCD;
  const auto script = install_script(wish, {"eth0"});
  for (const auto* name : {"capture", "reroute"}) {
    const auto text = chain(script, "inet", name);
    EXPECT_THAT(text, HasSubstr("meta skuid { 7, 9 } return"));
    EXPECT_THAT(text, HasSubstr("socket cgroupv2 level 2 \"unified/a.slice/b\" return"));
    EXPECT_THAT(text, HasSubstr("socket cgroupv2 level 1 \"../../../mnt/far\" return"));
  }
  EXPECT_THAT(script, Not(HasSubstr("gone")));
  EXPECT_THAT(chain(script, "inet", "excluded_programs"), HasSubstr("meta skuid { 7, 9 } meta mark set 0xabcd accept"));
  const auto guard = chain(script, "inet", "guard_output");
  EXPECT_LT(guard.find("meta mark 0xabcd meta mark set 0"), guard.find("jump excluded_programs"));
  EXPECT_LT(guard.find("jump excluded_programs"), guard.find("jump target0"));
  EXPECT_THAT(chain(script, "inet", "guard_postrouting"), HasSubstr("meta mark 0xabcd accept"));
  EXPECT_THAT(chain(script, "netdev", "leaving"), HasSubstr("meta mark 0xabcd meta rtclassid != 0xffffffff accept"));
  EXPECT_THAT(chain(script, "inet", "guard_forward"), Not(HasSubstr("abcd")));
}

TEST(Capture, DiversionsGoToNginxInTheKernelAndRetiredPortsNowhere) {
  auto wish = rules({target("10.0.0.0/8"), target("[fd02::20]:80")});
  wish.diversions = {{*SocketAddress::parse("10.2.0.20:80"), *SocketAddress::parse("10.3.0.30:21000")},
                     {*SocketAddress::parse("[fd02::20]:80"), *SocketAddress::parse("[fd03::30]:21001")}};
  wish.retired = {*SocketAddress::parse("10.3.0.30:21002")};
  const auto script = install_script(wish, {"eth0"});
  const auto nat = chain(script, "inet", "capture");
  EXPECT_THAT(nat, HasSubstr("ip daddr 10.2.0.20 tcp dport 80 dnat ip to 10.3.0.30:21000\n"));
  EXPECT_THAT(nat, HasSubstr("ip6 daddr fd02::20 tcp dport 80 dnat ip6 to [fd03::30]:21001\n"));
  EXPECT_LT(nat.find("dnat ip to"), nat.find("redirect to")) << "the first rule that translates counts";
  const auto guard = chain(script, "inet", "guard_output");
  EXPECT_THAT(guard, HasSubstr("ip daddr 10.3.0.30 tcp dport 21000 accept"));
  EXPECT_THAT(guard, HasSubstr("ip daddr 10.3.0.30 tcp dport 21002 counter drop"));
  EXPECT_LT(guard.find("exthdr rt exists"), guard.find("21000 accept")) << "no source route passes by that way";
  EXPECT_THAT(chain(script, "netdev", "leaving"), HasSubstr("ip daddr 10.3.0.30 tcp dport 21000 accept"));
  EXPECT_THAT(chain(script, "inet", "guard_forward"), Not(HasSubstr("21000")));
}

TEST(Capture, OnlyOwnConnectionsAndOnlyWhereAskedForAreUntracked) {
  auto wish = rules({target("10.2.0.20:80")});
  wish.own = {target("10.1.0.2:1083"), target("[fd01::2]:1083")};
  EXPECT_THAT(install_script(wish, {}), Not(HasSubstr("notrack")));
  wish.untracked = true;
  const auto script = install_script(wish, {});
  EXPECT_THAT(chain(script, "inet", "untracked_out"), HasSubstr(fmt::format("meta mark {:#x} ip daddr 10.1.0.2/32 tcp dport 1083 notrack", wish.mark)));
  const auto in = chain(script, "inet", "untracked_in");
  EXPECT_THAT(in, HasSubstr("ip6 saddr fd01::2/128 tcp sport 1083 tcp flags & (syn | ack) != syn fib daddr type local notrack"));
  EXPECT_LT(in.find("iif lo return"), in.find("notrack")) << "what was redirected needs its entry";
}

TEST(Capture, WithoutDevicesThereIsNoEgressChain) {
  const auto script = install_script(rules({target("10.2.0.20")}), {});
  EXPECT_THAT(script, Not(HasSubstr("table netdev epif_redirect_15001 {")));
}

}  // namespace
}  // namespace epif::redirect
