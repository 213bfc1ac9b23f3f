#include "socks/peer_option.h"

#include <gtest/gtest.h>

#include "socks/socks6.h"

namespace epif::socks6 {
namespace {

Bytes bind_with(const Destination& peer) {
  Request request;
  request.command = socks::Command::bind;
  request.target = socks::Target::of(SocketAddress{});
  request.options.expected_peer = socks::Target::of(peer);
  Bytes out(max_sent_bytes);
  out.resize(encode_request(request, out));
  return out;
}

TEST(PeerOption, AddressesAndNamesComeThrough) {
  for (const auto* text : {"10.2.0.20:21", "[fd02::20]:0", "modality.umc:104"}) {
    const auto peer = *Destination::parse(text);
    const auto bytes = bind_with(peer);
    const auto decoded = decode_request(bytes);
    const auto* complete = socks::done(decoded);
    ASSERT_NE(complete, nullptr) << text;
    ASSERT_TRUE(complete->message.options.expected_peer) << text;
    EXPECT_EQ(complete->message.options.expected_peer->destination(), peer);
  }
}

TEST(PeerOption, HasTheLayoutOfItsDocument) {
  const auto bytes = bind_with(*Destination::parse("192.0.2.1:21"));
  const Bytes wanted{6, 2, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0xFC, 0xE2, 0, 16, 1, 0, 0, 0, 0, 21, 0, 1, 192, 0, 2, 1};
  EXPECT_EQ(bytes, wanted);
}

TEST(PeerOption, AHalfReadOneFailsTheRequest) {
  auto bytes = bind_with(*Destination::parse("192.0.2.1:21"));
  for (const std::size_t at : {16u, 23u}) {  // the layout's version, the address type
    auto broken = bytes;
    broken[at] = 9;
    const auto decoded = decode_request(broken);
    EXPECT_NE(socks::malformed(decoded), nullptr) << at;
  }
  auto longer = bytes;
  longer.insert(longer.end(), {0, 0, 0, 0});
  longer[3] = longer[15] = 20;
  const auto decoded = decode_request(longer);
  EXPECT_NE(socks::malformed(decoded), nullptr) << "bytes behind the address";
}

}  // namespace
}  // namespace epif::socks6
