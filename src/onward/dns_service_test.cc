#include "onward/dns_service.h"

#include <gtest/gtest.h>

namespace epif::onward {
namespace {

TEST(DnsService, IsPort53OfNoAddress) {
  EXPECT_TRUE(is_dns_service(*Destination::parse("0.0.0.0:53")));
  EXPECT_TRUE(is_dns_service(*Destination::parse("[::]:53")));
  EXPECT_FALSE(is_dns_service(*Destination::parse("0.0.0.0:54")));
  EXPECT_FALSE(is_dns_service(*Destination::parse("192.0.2.1:53")));
  EXPECT_FALSE(is_dns_service(*Destination::parse("dns:53")));
}

TEST(DnsService, ReadsResolvConf) {
  const auto servers = name_servers_of("# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # second\n"
                                       "nameserver fe80::1%eth0\nnameserver\noptions edns0");
  ASSERT_EQ(servers.size(), 2u);
  EXPECT_EQ(servers[0].text(), "192.0.2.1:53");
  EXPECT_EQ(servers[1].text(), "[2001:db8::1]:53");
  EXPECT_TRUE(name_servers_of("").empty());
}

}  // namespace
}  // namespace epif::onward
