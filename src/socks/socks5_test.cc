#include "socks/socks5.h"

#include <gtest/gtest.h>

#include "socks/split_property.h"

namespace epif::socks5 {
namespace {

template <class Message>
socks::Decoded<Message> decode_at_every_split(socks::Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  EXPECT_EQ(socks::split_difference(decode, stream), "");
  return decode(stream);
}

TEST(Socks5, ReadsGreetingWithAnyNumberOfMethods) {
  const auto two = from_hex("05020002ff");
  const auto decoded = decode_at_every_split(decode_greeting, two);
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->consumed, 4u);
  EXPECT_TRUE(socks::done(decoded)->message.offers(Method::user_password));
  const auto none = decode_at_every_split(decode_greeting, from_hex("0500"));
  ASSERT_NE(socks::done(none), nullptr);
  EXPECT_FALSE(socks::done(none)->message.offers(Method::none));
}

TEST(Socks5, RequestsOfAllAddressTypesRoundTrip) {
  for (const auto* text : {"192.0.2.1:80", "[2001:db8::1]:443", "example.com:8080"}) {
    const auto destination = *Destination::parse(text);
    std::array<std::uint8_t, max_message_bytes> out{};
    const auto size = encode_request({socks::Command::connect, socks::Target::of(destination)}, out);
    ASSERT_GT(size, 0u);
    out[size] = 'G';  // application data in the same segment
    const auto decoded = decode_at_every_split(decode_request, ByteSpan(out).first(size + 1));
    const auto* request = socks::done(decoded);
    ASSERT_NE(request, nullptr);
    EXPECT_EQ(request->consumed, size);
    EXPECT_EQ(request->message.target.destination(), destination);
  }
}

TEST(Socks5, RequestMatchesTheRfc) {
  std::array<std::uint8_t, 32> out{};
  const auto destination = *Destination::parse("a.b:80");
  const auto size = encode_request({socks::Command::connect, socks::Target::of(destination)}, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "0501000303612e620050");
}

TEST(Socks5, RefusesUnknownAddressTypeAndBadNames) {
  const auto unknown = decode_at_every_split(decode_request, from_hex("05010002c00002010050"));
  ASSERT_NE(socks::malformed(unknown), nullptr);
  EXPECT_EQ(socks::malformed(unknown)->fault, socks::Fault::address_type);
  const auto empty = decode_at_every_split(decode_request, from_hex("05010003000050"));
  ASSERT_NE(socks::malformed(empty), nullptr);
  const auto nul = decode_at_every_split(decode_request, from_hex("0501000303610062"
                                                                  "0050"));
  ASSERT_NE(socks::malformed(nul), nullptr);
  EXPECT_EQ(socks::malformed(nul)->fault, socks::Fault::name);
}

TEST(Socks5, CredentialsRoundTripAndHaveLimits) {
  std::array<std::uint8_t, max_message_bytes> out{};
  const std::string longest(255, 'p');
  const auto size = encode_credentials({longest, longest}, out);
  ASSERT_EQ(size, 513u);
  const auto decoded = decode_at_every_split(decode_credentials, ByteSpan(out).first(size));
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->message.password, longest);
  EXPECT_EQ(encode_credentials({"", "x"}, out), 0u);
  EXPECT_EQ(encode_credentials({std::string(256, 'u'), "x"}, out), 0u);
  EXPECT_NE(socks::malformed(decode_credentials(from_hex("0500"))), nullptr) << "version is 1, not 5";
  EXPECT_NE(socks::malformed(decode_credentials(from_hex("010161"
                                                         "00"))),
            nullptr)
      << "empty password";
}

TEST(Socks5, RepliesRoundTripAndTimeoutBecomesHostUnreachable) {
  std::array<std::uint8_t, max_message_bytes> out{};
  const auto size = encode_reply({socks::Reply::timed_out, {IpAddress{}, 0}}, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "05040001000000000000");
  const auto decoded = decode_at_every_split(decode_reply, ByteSpan(out).first(size));
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->message.reply, socks::Reply::host_unreachable);
}

TEST(Socks5, MethodAndStatusRoundTrip) {
  std::array<std::uint8_t, 2> out{};
  EXPECT_EQ(encode_method(Method::unacceptable, out), 2u);
  const auto method = decode_at_every_split(decode_method, out);
  EXPECT_EQ(socks::done(method)->message, Method::unacceptable);
  EXPECT_EQ(encode_credentials_status(false, out), 2u);
  const auto status = decode_at_every_split(decode_credentials_status, out);
  EXPECT_FALSE(socks::done(status)->message);
}

}  // namespace
}  // namespace epif::socks5
