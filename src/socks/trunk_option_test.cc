#include "socks/trunk_option.h"

#include <gtest/gtest.h>

#include "socks/socks6.h"

namespace epif::socks6 {
namespace {

TrunkOption example(TrunkOption::What what) {
  TrunkOption option{what, {}, 0x01020304};
  for (std::size_t i = 0; i < option.token.size(); ++i) option.token[i] = static_cast<std::uint8_t>(i + 1);
  return option;
}

TEST(TrunkOption, reads_back_in_requests_and_in_replies_as_it_was_written) {
  for (const auto what : {TrunkOption::What::offer, TrunkOption::What::open, TrunkOption::What::join}) {
    Request request;
    request.command = socks::Command::noop;
    request.options.trunk = example(what);
    Bytes out(max_sent_bytes);
    out.resize(encode_request(request, out));
    const auto decoded = decode_request(out);
    const auto* whole = socks::done(decoded);
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->message.options.trunk, example(what));

    OperationReply reply;
    reply.trunk = example(what);
    out.resize(max_sent_bytes);
    out.resize(encode_operation_reply(reply, out));
    const auto answered = decode_operation_reply(out);
    const auto* answer = socks::done(answered);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->message.trunk, example(what));
  }
}

TEST(TrunkOption, a_body_of_another_layout_is_none) {
  Bytes body(24);
  body[0] = 1;
  EXPECT_TRUE(decode_trunk_option(body));
  EXPECT_FALSE(decode_trunk_option(ByteSpan(body).first(20)));
  EXPECT_FALSE(decode_trunk_option({}));
  body[1] = 3;
  EXPECT_FALSE(decode_trunk_option(body));
  body[1] = 0;
  body[0] = 2;
  EXPECT_FALSE(decode_trunk_option(body));
}

}  // namespace
}  // namespace epif::socks6
