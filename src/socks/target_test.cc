#include "socks/target.h"

#include <gtest/gtest.h>

namespace epif::socks {
namespace {

TEST(TargetTest, ANextProxysReplyIsPassedOnAsItIs) {
  for (const auto reply : {Reply::not_allowed, Reply::network_unreachable, Reply::host_unreachable, Reply::connection_refused,
                           Reply::ttl_expired, Reply::address_type_not_supported, Reply::timed_out, Reply::general_failure}) {
    EXPECT_EQ(reply_for(code_for(reply)), reply) << static_cast<int>(reply);
  }
}

}  // namespace
}  // namespace epif::socks
