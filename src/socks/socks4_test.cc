#include "socks/socks4.h"

#include <gtest/gtest.h>

#include "socks/split_property.h"

namespace epif::socks4 {
namespace {

template <class Message>
socks::Decoded<Message> decode_at_every_split(socks::Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  EXPECT_EQ(socks::split_difference(decode, stream), "");
  return decode(stream);
}

TEST(Socks4, ReadsAddressRequestAndLeavesTheApplicationsBytes) {
  const auto bytes = from_hex(
      "04010050c000020166726564"
      "00"
      "474554");
  const auto decoded = decode_at_every_split(decode_request, bytes);
  const auto* request = socks::done(decoded);
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(request->message.target.destination().text(), "192.0.2.1:80");
  EXPECT_EQ(request->message.user, "fred");
  EXPECT_EQ(bytes.size() - request->consumed, 3u);
}

TEST(Socks4, ReadsNameOf4a) {
  const auto bytes = from_hex(
      "040101bb00000001"
      "00"
      "6c6f63616c686f737400");
  const auto decoded = decode_at_every_split(decode_request, bytes);
  const auto* request = socks::done(decoded);
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(request->message.target.destination().text(), "localhost:443");
}

TEST(Socks4, AddressZeroIsNoName) {
  const auto bytes = from_hex("040101bb0000000000");
  const auto decoded = decode_at_every_split(decode_request, bytes);
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_FALSE(socks::done(decoded)->message.target.is_name());
}

TEST(Socks4, RefusesOverlongUserAndEmptyName) {
  auto bytes = from_hex("04010050c0000201");
  bytes.resize(bytes.size() + 300, 'x');
  const auto overlong = decode_at_every_split(decode_request, bytes);
  ASSERT_NE(socks::malformed(overlong), nullptr);
  EXPECT_EQ(socks::malformed(overlong)->fault, socks::Fault::too_long);
  const auto empty = decode_at_every_split(decode_request, from_hex("04010050000000010000"));
  ASSERT_NE(socks::malformed(empty), nullptr);
  EXPECT_EQ(socks::malformed(empty)->fault, socks::Fault::name);
}

TEST(Socks4, WritesReply) {
  std::array<std::uint8_t, reply_bytes> out{};
  const SocketAddress bound{*IpAddress::parse("192.0.2.9"), 4660};
  EXPECT_EQ(encode_reply(ReplyCode::granted, bound, out), 8u);
  EXPECT_EQ(to_hex(out), "005a1234c0000209");
  EXPECT_EQ(encode_reply(ReplyCode::granted, bound, MutableByteSpan(out).first(7)), 0u);
}

}  // namespace
}  // namespace epif::socks4
