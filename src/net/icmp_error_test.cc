#include "net/icmp_error.h"

#include <gtest/gtest.h>

namespace epif::net {
namespace {

std::optional<Code> met(bool six, int type, int code) {
  return ends_attempt({.destination = {}, .reporter = {}, .six = six, .type = static_cast<std::uint8_t>(type), .code = static_cast<std::uint8_t>(code)});
}

TEST(IcmpErrorTest, EveryUnreachableOfVersion4EndsAnAttemptWithItsReason) {  // RFC 792, RFC 1812 section 5.2.7.1
  for (const int network : {0, 6, 9, 11}) EXPECT_EQ(met(false, 3, network), Code::net_unreachable) << network;
  for (const int host : {1, 5, 7, 8, 10, 12, 13, 14, 15}) EXPECT_EQ(met(false, 3, host), Code::host_unreachable) << host;
  for (const int refused : {2, 3}) EXPECT_EQ(met(false, 3, refused), Code::refused) << refused;
  EXPECT_EQ(met(false, 3, 4), std::nullopt) << "a smaller path: the connection goes on";
  EXPECT_EQ(met(false, 11, 0), Code::ttl_expired);
  EXPECT_EQ(met(false, 11, 1), std::nullopt) << "reassembly";
  EXPECT_EQ(met(false, 5, 0), std::nullopt) << "a redirect";
}

TEST(IcmpErrorTest, EveryUnreachableOfVersion6EndsAnAttemptWithItsReason) {  // RFC 4443 section 3
  EXPECT_EQ(met(true, 1, 0), Code::net_unreachable);
  for (const int host : {1, 2, 3, 5, 6}) EXPECT_EQ(met(true, 1, host), Code::host_unreachable) << host;
  EXPECT_EQ(met(true, 1, 4), Code::refused);
  EXPECT_EQ(met(true, 3, 0), Code::ttl_expired);
  EXPECT_EQ(met(true, 3, 1), std::nullopt) << "reassembly";
  EXPECT_EQ(met(true, 2, 0), std::nullopt) << "packet too big: the connection goes on";
}

TEST(IcmpErrorTest, AReportIsReadWithinItsBytesAndLocalRefusalsAreNone) {
  Bytes report(16, 0);
  report[4] = 2;
  report[5] = 3;
  report[6] = 1;
  const SocketAddress destination{*IpAddress::parse("::ffff:10.2.0.20"), 80};
  const auto alone = read_icmp_error(report, destination);
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->destination.text(), "10.2.0.20:80");
  EXPECT_EQ(ends_attempt(*alone), Code::host_unreachable);
  for (const int byte : {2, 0, 0, 0, 10, 1, 0, 1}) report.push_back(static_cast<std::uint8_t>(byte));
  EXPECT_EQ(read_icmp_error(report, destination)->reporter, *IpAddress::parse("10.1.0.1"));
  EXPECT_EQ(read_icmp_error(ByteSpan(report).first(23), destination)->reporter, IpAddress{}) << "a part of an address is none";
  EXPECT_FALSE(read_icmp_error(ByteSpan(report).first(15), destination));
  report[4] = 1;
  EXPECT_FALSE(read_icmp_error(report, destination));
}

}  // namespace
}  // namespace epif::net
