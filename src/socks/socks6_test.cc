// Worked examples of draft-12 messages, derived from the draft by hand; each is encoded, compared byte for byte, and decoded
// at every split.
#include "socks/socks6.h"

#include <gtest/gtest.h>

#include "socks/split_property.h"

namespace epif::socks6 {
namespace {

template <class Message>
socks::Decoded<Message> decode_at_every_split(socks::Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  EXPECT_EQ(socks::split_difference(decode, stream), "");
  return decode(stream);
}

using Buffer = std::array<std::uint8_t, 4096>;
const Bytes session = from_hex("1122334455667788");

Request connect_to(const Destination& destination) {
  return {socks::Command::connect, socks::Target::of(destination), {}};
}

/// Encodes, compares with `hex`, and decodes with every split and with application bytes behind.
Request expect_request(const Request& request, std::string_view hex, Buffer& out) {
  const auto size = encode_request(request, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), hex);
  out[size] = 'G';
  const auto decoded = decode_at_every_split(decode_request, ByteSpan(out).first(size + 1));
  const auto* complete = socks::done(decoded);
  EXPECT_NE(complete, nullptr);
  if (complete == nullptr) return {};
  EXPECT_EQ(complete->consumed, size);
  EXPECT_EQ(complete->message.target, request.target);
  return complete->message;
}

TEST(Socks6Request, E1ConnectToAddress) {
  Buffer out{};
  const auto to = *Destination::parse("192.0.2.1:80");
  expect_request(connect_to(to), "0601000000500001c0000201", out);
}

TEST(Socks6Request, E2NamesArePaddedAndThePaddingIsCounted) {
  Buffer out{};
  const auto local = *Destination::parse("localhost:443");
  expect_request(connect_to(local), "0601000001bb00030b6c6f63616c686f73740000", out);
  const auto example = *Destination::parse("example.com:443");
  expect_request(connect_to(example), "0601000001bb00030b6578616d706c652e636f6d", out);
}

TEST(Socks6Request, NamesInTheFormOfDraft11AreTaken) {
  const auto bytes = from_hex("0601000001bb0003096c6f63616c686f73740000");
  const auto decoded = decode_at_every_split(decode_request, bytes);
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->message.target.destination().text(), "localhost:443");
  EXPECT_EQ(socks::done(decoded)->consumed, 20u);
}

TEST(Socks6Request, E3CredentialsAndInitialData) {
  Buffer out{};
  const auto to = *Destination::parse("192.0.2.1:80");
  auto request = connect_to(to);
  const std::array<std::uint8_t, 1> methods{2};
  request.options.advertisement = MethodAdvertisement{5, methods};
  request.options.credentials = Credentials{"user", "pass"};
  const auto back = expect_request(request,
                                   "0601001800500001c0000201"
                                   "0002000800050200"
                                   "00040010020104757365720470617373",
                                   out);
  EXPECT_EQ(back.initial_data_bytes(), 5u);
  EXPECT_TRUE(back.options.advertisement->offers(Method::user_password));
  EXPECT_EQ(back.options.credentials, request.options.credentials);
}

TEST(Socks6Request, E4NoopOpensSessionAndAsksForTokens) {
  Buffer out{};
  Request request{socks::Command::noop, {IpAddress{}, 0}, {}};
  request.options.session_request = true;
  request.options.idempotence_request = 32;
  const auto back = expect_request(request, "0600000c000000010000000000050004000b000800000020", out);
  EXPECT_TRUE(back.options.session_request);
  EXPECT_EQ(back.options.idempotence_request, 32u);
}

TEST(Socks6Reply, E5AuthenticationReplyWithSessionAndWindow) {
  Buffer out{};
  AuthenticationReply reply;
  reply.success = true;
  reply.session_id = session;
  reply.window = IdempotenceWindow{0x01020300, 32};
  const auto size = encode_authentication_reply(reply, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "060000180006000c1122334455667788000c000c0102030000000020");
  const auto decoded = decode_at_every_split(decode_authentication_reply, ByteSpan(out).first(size));
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_TRUE(socks::done(decoded)->message.success);
  EXPECT_EQ(to_hex(socks::done(decoded)->message.session_id), to_hex(session));
  EXPECT_EQ(socks::done(decoded)->message.window, reply.window);
}

TEST(Socks6Request, E6SessionTokenAndStackOptions) {
  Buffer out{};
  const auto to = *Destination::parse("192.0.2.1:80");
  auto request = connect_to(to);
  request.options.session_id = session;
  request.options.token = 0x01020304;
  request.options.stack.add(Tos{Leg::both, 0xb8});
  request.options.stack.add(FastOpen{1200});
  request.options.stack.add(Multipath{true});
  const auto back = expect_request(request,
                                   "0601002c00500001c0000201"
                                   "0006000c1122334455667788"
                                   "000d000801020304"
                                   "00010008c101b800"
                                   "00010008840104b0"
                                   "0001000884020200",
                                   out);
  EXPECT_EQ(back.options.stack, request.options.stack);
  EXPECT_EQ(back.options.token, 0x01020304u);
}

TEST(Socks6Reply, E7AuthenticationFailures) {
  Buffer out{};
  AuthenticationReply none;
  none.selection = Method::unacceptable;
  auto size = encode_authentication_reply(none, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "0601000800030008ff000000");
  AuthenticationReply wrong;
  wrong.credentials_status = 1;
  size = encode_authentication_reply(wrong, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "060100080004000802010100");
  const auto decoded = decode_at_every_split(decode_authentication_reply, ByteSpan(out).first(size));
  EXPECT_FALSE(socks::done(decoded)->message.success);
  EXPECT_EQ(socks::done(decoded)->message.credentials_status, 1);
}

TEST(Socks6Reply, E8OperationReplyTellsStackOptions) {
  Buffer out{};
  OperationReply reply{socks::Reply::success, {*IpAddress::parse("192.0.2.1"), 4660}, {}};
  reply.stack.add(Tos{Leg::proxy_remote, 0xb8});
  const auto size = encode_operation_reply(reply, out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "0600000812340001c0000201000100088101b800");
  const auto decoded = decode_at_every_split(decode_operation_reply, ByteSpan(out).first(size));
  EXPECT_EQ(socks::done(decoded)->message.stack, reply.stack);
  EXPECT_EQ(socks::done(decoded)->message.bound, reply.bound);
}

TEST(Socks6Reply, OptionsWithImpossibleBodiesAreRefused) {
  // Selection of 4 and 12 bytes, a status without padding's word, an empty session id, a window of one word, flags with a body.
  for (const auto* options : {"00030004", "0003000c0200000000000000", "0004000c0201000000000000", "00060004", "000c000801020304",
                              "0008000801020304", "0009000801020304", "000e000801020304", "000f000801020304"}) {
    auto bytes = from_hex(std::string("06000000") + options);
    store_u16(&bytes[2], static_cast<std::uint16_t>(bytes.size() - 4));
    const auto decoded = decode_at_every_split(decode_authentication_reply, bytes);
    ASSERT_NE(socks::malformed(decoded), nullptr) << options;
    EXPECT_EQ(socks::malformed(decoded)->fault, socks::Fault::option);
  }
}

TEST(Socks6Reply, OfTwoVerdictsOnATokenTheFirstCounts) {
  for (const auto* options : {"000e0004000f0004", "000f0004000e0004"}) {
    const auto decoded = decode_at_every_split(decode_authentication_reply, from_hex(std::string("06000008") + options));
    ASSERT_NE(socks::done(decoded), nullptr);
    EXPECT_EQ(socks::done(decoded)->message.token_accepted, options[3] == 'e');
  }
}

TEST(Socks6Reply, ASessionIdIsTakenInEitherReplyAndNeverEmpty) {
  EXPECT_NE(socks::done(decode_at_every_split(decode_authentication_reply, from_hex("060000080006000811223344"))), nullptr);
  const auto with = [](const char* length, const char* options) {
    return from_hex(std::string("0600") + length + "12340001c0000201" + options);
  };
  EXPECT_NE(socks::done(decode_at_every_split(decode_operation_reply, with("0008", "0006000811223344"))), nullptr);
  const auto decoded = decode_at_every_split(decode_operation_reply, with("0004", "00060004"));
  ASSERT_NE(socks::malformed(decoded), nullptr);
  EXPECT_EQ(socks::malformed(decoded)->fault, socks::Fault::option);
  EXPECT_NE(socks::done(decode_at_every_split(decode_operation_reply, with("0004", "00080004"))), nullptr) << "not for this reply";
}

TEST(Socks6Request, OptionsWithImpossibleLengthsAreRefused) {
  // Option length 0, 2, 6, past the block; block length no multiple of 4.
  for (const auto* options : {"00050000", "00050002", "00050006", "00050008"}) {
    const auto decoded = decode_at_every_split(decode_request, from_hex(std::string("0601000400500001c0000201") + options));
    ASSERT_NE(socks::malformed(decoded), nullptr) << options;
    EXPECT_EQ(socks::malformed(decoded)->fault, socks::Fault::option);
  }
  EXPECT_NE(socks::malformed(decode_request(from_hex("06010003"))), nullptr);
  EXPECT_NE(socks::malformed(decode_request(from_hex("06015004"))), nullptr) << "20,484 is over the cap";
  EXPECT_EQ(socks::malformed(decode_request(from_hex("06015000"))), nullptr) << "20,480 is the cap";
}

TEST(Socks6Request, UnknownKindsAndStackCodesAreIgnored) {
  // Kind 7 (withdrawn), experimental 0xFDE8, a stack option of level 2, one of leg 0.
  const auto bytes = from_hex(
      "0601001c00500001c0000201"
      "00070004"
      "fde8000801020304"
      "0001000882010000"
      "0001000801010000");
  const auto decoded = decode_at_every_split(decode_request, bytes);
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_TRUE(socks::done(decoded)->message.options.stack.empty());
}

TEST(Socks6Request, TooMuchInitialDataIsRefused) {
  const auto bytes = from_hex(
      "0601000800500001c0000201"
      "0002000840010000");
  EXPECT_NE(socks::malformed(decode_at_every_split(decode_request, bytes)), nullptr);
}

TEST(Socks6Request, FlowOptionCarriesIdAndEncapsulatedKeys) {
  Buffer out{};
  const auto to = *Destination::parse("pacs.research:4242");
  auto request = connect_to(to);
  FlowOption flow{"stroke-imaging/send-images", {}};
  KeyEncapsulation key{"encrypt-1", {}};
  key.key.fill(0xab);
  flow.encapsulations.push_back(key);
  request.options.flow = flow;
  const auto size = encode_request(request, out);
  ASSERT_GT(size, 0u);
  EXPECT_EQ(size % 4, 0u);
  const auto decoded = decode_at_every_split(decode_request, ByteSpan(out).first(size));
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->message.options.flow, flow);
}

TEST(Socks6Request, MalformedFlowOptionIsAnErrorNotAnAbsence) {
  // A flow id with a space; a length past the body; a version that does not exist; five keys.
  for (const auto* option :
       {"fce1000c0103000061206200", "fce1000c01ff000061620000", "fce1000c0203000061626300", "fce1000c0103050061626300"}) {
    const auto decoded = decode_at_every_split(decode_request, from_hex(std::string("0601000c00500001c0000201") + option));
    EXPECT_NE(socks::malformed(decoded), nullptr) << option;
  }
}

TEST(Socks6Request, EverySplitOfAFullRequestGivesTheSame) {
  Buffer out{};
  const auto to = *Destination::parse("a-rather-long-name.hospital.example:11112");
  auto request = connect_to(to);
  const std::array<std::uint8_t, 3> methods{2, 1, 3};
  request.options.advertisement = MethodAdvertisement{16384, methods};
  request.options.credentials = Credentials{std::string_view("u"), std::string_view("p")};
  request.options.session_id = session;
  request.options.stack.add(Ttl{Leg::proxy_remote, 12});
  request.options.stack.add(PortParity{2, true});
  request.options.flow = FlowOption{"f", {}};
  const auto size = encode_request(request, out);
  ASSERT_GT(size, 0u);
  const auto decoded = decode_at_every_split(decode_request, ByteSpan(out).first(size));
  ASSERT_NE(socks::done(decoded), nullptr);
  EXPECT_EQ(socks::done(decoded)->message.initial_data_bytes(), 16384u);
}

TEST(Socks6Request, EncoderRefusesWhatDoesNotFit) {
  std::array<std::uint8_t, 11> small{};
  const auto to = *Destination::parse("192.0.2.1:80");
  EXPECT_EQ(encode_request(connect_to(to), small), 0u);
  Buffer out{};
  auto request = connect_to(to);
  request.options.credentials = Credentials{"", "x"};
  EXPECT_EQ(encode_request(request, out), 0u);
}

}  // namespace
}  // namespace epif::socks6
