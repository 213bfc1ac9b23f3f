#include "socks/socks5_udp.h"

#include <gtest/gtest.h>

namespace epif::socks5 {
namespace {

std::string read(std::string_view hex) {
  const auto packet = from_hex(hex);
  const auto decoded = decode_datagram(packet);
  if (const auto* fault = socks::malformed(decoded)) return std::string(fault->what);
  const auto* complete = socks::done(decoded);
  if (complete == nullptr) return "cut";
  EXPECT_EQ(complete->consumed, packet.size());
  return std::to_string(complete->message.fragment) + " " + complete->message.target.destination().text() + " " +
         std::string(as_text(complete->message.payload));
}

TEST(Socks5Datagram, EveryAddressTypeIsRead) {
  EXPECT_EQ(read("00000001c000020100356869"), "0 192.0.2.1:53 hi");
  EXPECT_EQ(read("00000004fd09000000000000000000000000000500356869"), "0 [fd09::5]:53 hi");
  EXPECT_EQ(read("0000000303612e6200356869"), "0 a.b:53 hi");
  EXPECT_EQ(read("00000501c00002010035"), "5 192.0.2.1:53 ");
}

TEST(Socks5Datagram, WhatBreaksTheHeaderIsRefused) {
  EXPECT_EQ(read(""), "cut");
  EXPECT_EQ(read("00000001c0000201"), "cut");
  EXPECT_EQ(read("00000003ff61"), "cut");
  EXPECT_EQ(read("00000002c00002010035"), "unknown address type");
  EXPECT_EQ(read("0000000300003568"), "empty host name");
  EXPECT_EQ(read("0000000303610062003568"), "NUL in host name");
}

TEST(Socks5Datagram, HeadersAreWrittenAsTheyAreRead) {
  std::array<std::uint8_t, datagram_header_max_bytes> out{};
  const auto size = encode_datagram_header(socks::Target::of(*SocketAddress::parse("192.0.2.1:53")), out);
  EXPECT_EQ(to_hex(ByteSpan(out).first(size)), "00000001c00002010035");
  EXPECT_EQ(encode_datagram_header(socks::Target::of(*SocketAddress::parse("192.0.2.1:53")), MutableByteSpan(out).first(9)), 0u);
  const std::string name(255, 'a');
  EXPECT_EQ(encode_datagram_header({std::string_view(name), 53}, out), datagram_header_max_bytes);
}

}  // namespace
}  // namespace epif::socks5
