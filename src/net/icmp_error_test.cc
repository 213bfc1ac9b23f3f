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

}  // namespace
}  // namespace epif::net
