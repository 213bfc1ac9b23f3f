#include "base/ip.h"

#include <gtest/gtest.h>

namespace epif {
namespace {

TEST(IpAddress, ParsesBothFamiliesAndPrintsThemBack) {
  EXPECT_EQ(IpAddress::parse("10.1.0.2")->text(), "10.1.0.2");
  EXPECT_EQ(IpAddress::parse("fd09:0::5")->text(), "fd09::5");
  EXPECT_FALSE(IpAddress::parse("10.1.0"));
  EXPECT_FALSE(IpAddress::parse(""));
  EXPECT_FALSE(IpAddress::parse("fe80::1%eth0"));
}

TEST(IpAddress, MappedAddressesAreRecognisedAsIPv4) {
  EXPECT_EQ(IpAddress::parse("::ffff:127.0.0.1")->unmapped().text(), "127.0.0.1");
  EXPECT_TRUE(IpAddress::parse("::ffff:127.0.0.1")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("::1")->is_loopback());
  EXPECT_FALSE(IpAddress::parse("::2")->is_loopback());
}

TEST(Cidr, ContainsExactlyItsBlock) {
  const auto block = Cidr::parse("10.1.128.0/17").value();
  EXPECT_TRUE(block.contains(*IpAddress::parse("10.1.255.255")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("10.1.127.255")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("::1")));
  EXPECT_TRUE(Cidr::parse("::/0")->contains(*IpAddress::parse("fd09::5")));
  EXPECT_FALSE(Cidr::parse("10.1.0.1/16")) << "host bits set";
  EXPECT_FALSE(Cidr::parse("10.0.0.0/33"));
}

TEST(CaptureTarget, HasPortsInBothFamilies) {
  EXPECT_EQ(CaptureTarget::parse("10.2.0.10")->text(), "10.2.0.10/32");
  EXPECT_EQ(CaptureTarget::parse("10.2.0.0/16:80-90")->text(), "10.2.0.0/16:80-90");
  EXPECT_EQ(CaptureTarget::parse("[fd09::5]:80")->text(), "[fd09::5/128]:80");
  EXPECT_EQ(CaptureTarget::parse("fd09::/64")->text(), "fd09::/64");
  EXPECT_FALSE(CaptureTarget::parse("10.2.0.10:90-80"));
  EXPECT_FALSE(CaptureTarget::parse("10.2.0.10:"));
}

TEST(Destination, KeepsNamesAsNames) {
  EXPECT_TRUE(Destination::parse("pacs.research:4242")->is_name());
  EXPECT_EQ(Destination::parse("[::1]:80")->text(), "[::1]:80");
  EXPECT_FALSE(Destination::parse(":80"));
  EXPECT_FALSE(Destination::parse("host"));
}

}  // namespace
}  // namespace epif
