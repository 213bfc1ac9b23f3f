// The EPI project's own form, derived from its source: fields unpadded, in the order of SOCKS5.
#include "socks/socksx.h"

#include <gtest/gtest.h>

#include "socks/split_property.h"

namespace epif::socksx {
namespace {

template <class Message>
socks::Decoded<Message> decode_at_every_split(socks::Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  EXPECT_EQ(socks::split_difference(decode, stream), "");
  return decode(stream);
}

std::string metadata(std::uint16_t key, std::string_view value) {
  // Its padding bug: an aligned value gets four zeros more.
  const auto padding = 4 - value.size() % 4;
  Bytes out(8);
  store_u16(out.data(), kind_metadata);
  store_u16(&out[2], static_cast<std::uint16_t>(8 + value.size() + padding));
  store_u16(&out[4], key);
  store_u16(&out[6], static_cast<std::uint16_t>(value.size()));
  out.insert(out.end(), value.begin(), value.end());
  out.resize(out.size() + padding);
  return to_hex(out);
}

Bytes request_with(const std::string& options) {
  const auto length = options.size() / 2;
  return from_hex("060101c0a80101005000" + to_hex(std::array{static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)}) + options);
}

TEST(Socksx, TheRequestThatItsOwnTestPins) {
  const auto bytes = from_hex("060101c0a801010050000000");
  const auto decoded = decode_at_every_split(decode_request, bytes);
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->message.request.target.destination().text(), "192.168.1.1:80");
  EXPECT_FALSE(socks::done(decoded)->message.chain);
}

TEST(Socksx, E10ConnectWithAChainOfTwoAtIndexZero) {
  EXPECT_EQ(metadata(1000, "socks6://root:1080"), "fde8001c03e80012736f636b73363a2f2f726f6f743a313038300000");
  EXPECT_EQ(metadata(998, "0"), "fde8000c03e6000130000000");
  EXPECT_EQ(metadata(999, "2"), "fde8000c03e7000132000000");
  EXPECT_EQ(metadata(1001, "four").substr(4, 4), "0010") << "12 and 4 spurious bytes";
  const auto bytes = request_with(metadata(1000, "socks6://root:1080") + metadata(1001, "socks6://10.0.0.2:1080") +
                                  metadata(998, "0") + metadata(999, "2") + "0002000800000000");
  const auto decoded = decode_at_every_split(decode_request, bytes);
  ASSERT_NE(socks::done(decoded), nullptr);
  const auto& message = socks::done(decoded)->message;
  ASSERT_TRUE(message.chain);
  EXPECT_EQ(message.chain->links.size(), 2u);
  EXPECT_EQ(message.chain->links.begin()[1], "socks6://10.0.0.2:1080");
  EXPECT_TRUE(message.request.options.advertisement);
}

TEST(Socksx, MetadataThatIsNotWholeIsRefused) {
  const auto root = metadata(1000, "socks6://root:1080");
  for (const auto& options :
       {root, root + metadata(998, "0"), root + metadata(998, "1") + metadata(999, "1"), root + metadata(998, "0") + metadata(999, "2"),
        metadata(1001, "x") + metadata(998, "0") + metadata(999, "1"), root + root + metadata(998, "0") + metadata(999, "2"),
        root + metadata(998, "-1") + metadata(999, "1"), root + metadata(998, "0") + metadata(999, "18446744073709551617"),
        metadata(1000 + links_max, "x") + metadata(998, "0") + metadata(999, "1"), std::string("fde8000803e80012")}) {
    const auto decoded = decode_at_every_split(decode_request, request_with(options));
    EXPECT_NE(socks::malformed(decoded), nullptr) << options;
  }
}

TEST(Socksx, RepliesAreItsServersBytes) {
  std::array<std::uint8_t, 64> out{};
  const auto size = encode_operation_reply({socks::Reply::success, {IpAddress{}, 0}, {}}, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "060000010000000000000000");
  const auto decoded = decode_at_every_split(decode_operation_reply, ByteSpan(out).first(size));
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->consumed, size);
}

TEST(Socksx, RequestsToItsServersRoundTrip) {
  for (const auto* text : {"192.0.2.1:80", "[2001:db8::1]:443", "example.com:8080"}) {
    const auto to = *Destination::parse(text);
    std::array<std::uint8_t, 300> out{};
    const auto size = encode_request(socks::Target::of(to), out);
    ASSERT_GT(size, 0u);
    out[size] = 'G';
    const auto decoded = decode_at_every_split(decode_request, ByteSpan(out).first(size + 1));
    ASSERT_NE(socks::done(decoded), nullptr);
    EXPECT_EQ(socks::done(decoded)->consumed, size);
    EXPECT_EQ(socks::done(decoded)->message.request.target.destination(), to);
    EXPECT_EQ(socks::done(decoded)->message.request.initial_data_bytes(), 0u);
  }
}

}  // namespace
}  // namespace epif::socksx
