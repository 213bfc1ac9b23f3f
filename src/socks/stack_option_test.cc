#include "socks/stack_option.h"

#include <gtest/gtest.h>

namespace epif::socks6 {
namespace {

TEST(StackOption, EveryKindRoundTrips) {
  const std::array<StackOption, 9> all{
      Tos{Leg::both, 0xb8}, HappyEyeballs{true}, Ttl{Leg::client_proxy, 3}, NoFragmentation{Leg::both, true},
      FastOpen{1200},       Multipath{false},    ListenBacklog{128},        UdpError{true},
      PortParity{2, true}};
  for (const auto& option : all) {
    std::array<std::uint8_t, 8> out{};
    socks::Writer writer(out);
    encode_stack_option(option, writer);
    ASSERT_EQ(writer.finish(), 8u);
    EXPECT_EQ(decode_stack_option(ByteSpan(out).subspan(4)), option);
  }
}

TEST(StackOption, ValuesThatMeanNothingAreNoOption) {
  EXPECT_FALSE(decode_stack_option(from_hex("81020700"))) << "happy eyeballs is 1 or 2";
  EXPECT_FALSE(decode_stack_option(from_hex("44010000"))) << "fast open is about the remote leg";
  EXPECT_FALSE(decode_stack_option(from_hex("85020300"))) << "parity is 0, 1 or 2";
  EXPECT_FALSE(decode_stack_option(from_hex("8501"))) << "cut";
}

TEST(StackOption, OfContradictingOptionsTheFirstCounts) {
  StackOptions options;
  EXPECT_TRUE(options.add(Tos{Leg::client_proxy, 1}));
  EXPECT_FALSE(options.add(Tos{Leg::both, 2})) << "overlaps the first";
  EXPECT_TRUE(options.add(Tos{Leg::proxy_remote, 3}));
  EXPECT_EQ(options.find<Tos>(Leg::client_proxy)->value, 1);
  EXPECT_EQ(options.find<Tos>(Leg::proxy_remote)->value, 3);
  EXPECT_EQ(options.find<Ttl>(), nullptr);
}

}  // namespace
}  // namespace epif::socks6
