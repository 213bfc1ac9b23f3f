#include "leak/verdict.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/limits.h"
#include "leak/ways_out.h"

namespace epif::leak {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
CaptureTarget target(std::string_view text) { return *CaptureTarget::parse(text); }

Leaving packet(std::string_view to, std::uint16_t port, std::uint8_t protocol, std::string_view data = {}) {
  const Ends ends{ip("10.1.0.10"), ip(to)};
  const auto body = protocol == 6 ? tcp_syn(ends, 4000, port, as_bytes(data)) : udp_datagram(ends, 4000, port, as_bytes(data));
  Leaving made{1, 0x0800, false, ip_packet(ends, protocol, body), {}};
  made.header = read_header(made.bytes);
  return made;
}

Observation sound() { return {.attempt = {}, .leaked = {}, .blind = {}, .control = {}, .control_seen = true, .control_place = "10.3.0.30"}; }

TEST(Verdict, AWayIsHeldOnlyIfItsControlWasSeen) {
  auto seen = sound();
  EXPECT_EQ(judge("udp", "x", seen).verdict, Verdict::held);
  seen.control_seen = false;
  EXPECT_EQ(judge("udp", "x", seen).verdict, Verdict::not_proven);
  seen.attempt = refused(EPERM);
  EXPECT_EQ(judge("udp", "x", seen).verdict, Verdict::not_proven);
}

TEST(Verdict, WhatOneRunLeavesOutIsSaidAndNotProven) {
  EXPECT_FALSE(untried_of(limits::leak_targets, limits::leak_targets));
  const auto line = untried_of(limits::leak_targets + 3, 1);
  ASSERT_TRUE(line);
  EXPECT_NE(line->why.find("3 of 35 protected destinations"), std::string::npos) << line->why;
  EXPECT_EQ(exit_code({{"node", "udp/v4", Verdict::held, ""}, *line}), 1);
  EXPECT_NE(untried_of(1, limits::leak_targets + 1)->why.find("1 of 33 protected names"), std::string::npos);
}

TEST(Verdict, AQuestionForAProtectedNameIsKnownByTheNameAndNotByWhoLooksForTheResolver) {
  const Probe probe{.token = wire_name("pacs.example"), .to = ip("10.3.0.30"), .from = {}, .via = {}, .device = {}, .named = true};
  const auto question = dns_question(probe.token, false);
  EXPECT_TRUE(is_probe(packet("10.3.0.30", 53, 17, as_text(question)), probe, {}));
  EXPECT_TRUE(is_probe(packet("10.9.0.9", 53, 17, as_text(question)), probe, {})) << "whoever is asked in the end";
  EXPECT_FALSE(is_probe(packet("10.3.0.30", 53, 17, as_text(dns_query("other", false))), probe, {}));
  Leaving arp{1, 0x0806, true, Bytes(28), {}};
  arp.bytes[2] = 8;
  arp.bytes[7] = 1;
  std::ranges::copy(probe.to.bytes(), arp.bytes.begin() + 24);
  EXPECT_FALSE(is_probe(arp, probe, {}));
  auto destination = probe;
  destination.named = false;
  EXPECT_TRUE(is_probe(arp, destination, {}));
}

TEST(Verdict, ALeakIsALeakWhateverElseIsUnknown) {
  auto seen = sound();
  seen.control_seen = false;
  seen.blind = "lost";
  seen.leaked = "a packet";
  EXPECT_EQ(judge("udp", "x", seen).verdict, Verdict::leak);
}

TEST(Verdict, ADetectorThatLostPacketsProvesNothing) {
  auto seen = sound();
  seen.blind = "the tap lost 3 packets";
  EXPECT_EQ(judge("udp", "x", seen).verdict, Verdict::not_proven);
}

TEST(Verdict, WhatTheKernelLacksIsNotPossibleHere) {
  auto seen = sound();
  seen.attempt = impossible("the kernel has no SCTP sockets");
  seen.control_seen = false;
  EXPECT_EQ(judge("sctp", "x", seen).verdict, Verdict::impossible);
}

TEST(Verdict, TrafficToTheProxyIsExemptAndNothingElseIs) {
  const Exempt exempt{{target("10.2.0.2:1083")}, {}, {}};
  const auto block = target("10.2.0.0/16");
  EXPECT_FALSE(is_towards(packet("10.2.0.2", 1083, 6), block, exempt));
  EXPECT_TRUE(is_towards(packet("10.2.0.2", 1084, 6), block, exempt));
  EXPECT_TRUE(is_towards(packet("10.2.0.3", 1083, 6), block, exempt));
  EXPECT_FALSE(is_towards(packet("10.9.0.3", 1083, 6), block, exempt));
}

TEST(Verdict, OtherPortsOfATargetWithPortsPass) {
  EXPECT_FALSE(is_towards(packet("10.2.0.20", 81, 17), target("10.2.0.20:80"), {}));
  EXPECT_TRUE(is_towards(packet("10.2.0.20", 80, 17), target("10.2.0.20:80"), {}));
}

TEST(Verdict, AProbeIsKnownByItsTokenOrItsConnection) {
  Probe probe;
  probe.token = make_token();
  probe.to = ip("10.2.0.20");
  EXPECT_TRUE(is_probe(packet("10.9.9.9", 9, 17, probe.token), probe, {}));
  EXPECT_FALSE(is_probe(packet("10.2.0.20", 9, 17, make_token()), probe, {}));
  EXPECT_TRUE(is_probe(packet("10.2.0.20", 9, 6), probe, {.from_port = 4000}));
  EXPECT_FALSE(is_probe(packet("10.2.0.20", 9, 6), probe, {.from_port = 4001}));
}

TEST(Verdict, TheWorstDestinationSpeaksForAWay) {
  const std::vector<Finding> all{{"node", "udp", Verdict::held, "a"}, {"node", "tcp", Verdict::held, "b"}, {"node", "udp", Verdict::leak, "c"}};
  const auto lines = worst_by_way(all);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].why, "c");
  EXPECT_EQ(exit_code(lines), 3);
}

TEST(Verdict, ExitCodesTellHeldFromLeakFromUnproven) {
  EXPECT_EQ(exit_code({}), 1);
  EXPECT_EQ(exit_code({{"node", "a", Verdict::held, ""}, {"node", "b", Verdict::impossible, ""}}), 0);
  EXPECT_EQ(exit_code({{"node", "a", Verdict::held, ""}, {"node", "b", Verdict::not_proven, ""}}), 1);
  EXPECT_EQ(exit_code({{"node", "a", Verdict::leak, ""}, {"node", "b", Verdict::not_proven, ""}}), 3);
}

TEST(Verdict, TheCounterOfADeviceIsReadFromItsLine) {
  constexpr std::string_view text =
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
      "    lo: 100 10 0 0 0 0 0 0 100 10 0 0 0 0 0 0\n"
      "  eth0: 200 20 0 0 0 0 0 0 300 31 0 0 0 0 0 0\n";
  EXPECT_EQ(sent_by(text, "eth0"), 31u);
  EXPECT_EQ(sent_by(text, "eth"), 0u);
}

}  // namespace
}  // namespace epif::leak
