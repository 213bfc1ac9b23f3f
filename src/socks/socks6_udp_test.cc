// Worked example E9 (init, datagram, confirmation, error report; derived from draft-12 by hand), and the names of -11.
#include "socks/socks6_udp.h"

#include <gtest/gtest.h>

#include "socks/split_property.h"

namespace epif::socks6 {
namespace {

constexpr std::uint64_t association = 0x1122334455667788;

std::string written(std::size_t size, ByteSpan out) { return to_hex(out.first(size)); }

/// Decodes at every split, with the next message's first byte behind.
std::string read(std::string_view hex) {
  auto bytes = from_hex(hex);
  const auto size = bytes.size();
  bytes.push_back(6);
  EXPECT_EQ(socks::split_difference(decode_udp_message, bytes), "");
  const auto decoded = decode_udp_message(bytes);
  if (const auto* fault = socks::malformed(decoded)) return std::string(fault->what);
  const auto* complete = socks::done(decoded);
  if (complete == nullptr) return "more";
  EXPECT_EQ(complete->consumed, size);
  const auto& message = complete->message;
  auto text = std::to_string(static_cast<int>(message.type)) + " " + std::to_string(message.association);
  if (message.type == UdpType::datagram) {
    text += " " + message.target.destination().text() + " " + std::string(as_text(message.payload));
  } else if (message.type == UdpType::error) {
    text += " " + message.target.destination().text() + " " + std::to_string(static_cast<int>(message.error)) + " " +
            message.reporter.text();
  }
  return text;
}

TEST(Socks6Udp, E9IsWrittenAndRead) {
  std::array<std::uint8_t, udp_header_max_bytes> out{};
  const std::string init = "0601000c1122334455667788";
  const std::string datagram = "060300161122334455667788" "01000035c0000201" "6869";
  const std::string confirmation = "0602000c1122334455667788";
  const std::string error = "0604001c1122334455667788" "01000035c0000201" "010200000a000001";
  const auto server = *SocketAddress::parse("192.0.2.1:53");
  EXPECT_EQ(written(encode_udp_init(association, out), out), init);
  EXPECT_EQ(written(encode_udp_confirmation(association, out), out), confirmation);
  EXPECT_EQ(written(encode_udp_header(association, socks::Target::of(server), 2, out), out) + "6869", datagram);
  EXPECT_EQ(written(encode_udp_error(association, server, UdpErrorCode::host_unreachable, *IpAddress::parse("10.0.0.1"), out), out),
            error);
  const auto number = std::to_string(association);
  EXPECT_EQ(read(init), "1 " + number);
  EXPECT_EQ(read(confirmation), "2 " + number);
  EXPECT_EQ(read(datagram), "3 " + number + " 192.0.2.1:53 hi");
  EXPECT_EQ(read(error), "4 " + number + " 192.0.2.1:53 2 10.0.0.1");
}

TEST(Socks6Udp, NamesAndIpv6) {
  std::array<std::uint8_t, udp_header_max_bytes> out{};
  auto size = encode_udp_header(association, {std::string_view("localhost"), 53}, 2, out);
  EXPECT_EQ(written(size, out), "0603001e1122334455667788" "03000035" "0b6c6f63616c686f73740000");
  EXPECT_EQ(read(written(size, out) + "6869"), "3 " + std::to_string(association) + " localhost:53 hi");
  size = encode_udp_header(association, socks::Target::of(*SocketAddress::parse("[fd09::5]:53")), 2, out);
  EXPECT_EQ(read(written(size, out) + "6869"), "3 " + std::to_string(association) + " [fd09::5]:53 hi");
}

TEST(Socks6Udp, NamesOfDraft11AreTakenWhereTheyMeanOneThing) {
  const auto number = std::to_string(association);
  EXPECT_EQ(read("0603001c1122334455667788" "03000035" "096c6f63616c686f7374" "6869"), "3 " + number + " localhost:53 hi")
      << "unpadded, and the payload cannot be padding";
  EXPECT_EQ(read("0603001e1122334455667788" "03000035" "096c6f63616c686f7374" "0000" "6869"), "a name that may be padded or not");
  EXPECT_EQ(read("0603001b1122334455667788" "03000035" "096c6f63616c686f7374" "00"), "3 " + number + " localhost:53 " + std::string(1, '\0'))
      << "too short to be padding";
}

TEST(Socks6Udp, WhatBreaksTheFormIsRefused) {
  EXPECT_EQ(read("05"), "not a SOCKS6 UDP message");
  EXPECT_EQ(read("0605000c1122334455667788"), "unknown type of UDP message");
  EXPECT_EQ(read("0603000b"), "a UDP message of impossible length");
  EXPECT_EQ(read("060100101122334455667788" "00000000"), "a UDP message of impossible length");
  EXPECT_EQ(read("0603000f1122334455667788" "010000"), "a UDP message ends within its address");
  EXPECT_EQ(read("060300131122334455667788" "01000035c00002"), "a UDP message ends within its address");
  EXPECT_EQ(read("060300141122334455667788" "02000035c0000201"), "unknown address type");
  EXPECT_EQ(read("060300141122334455667788" "0300003503000000"), "empty host name");
  EXPECT_EQ(read("060300141122334455667788" "0300003507610062"), "a UDP message ends within its address");
  EXPECT_EQ(read("0604001c1122334455667788" "01000035c0000201" "010900000a000001"), "unknown UDP error code");
  EXPECT_EQ(read("0604001d1122334455667788" "01000035c0000201" "010200000a000001ff"), "a UDP error of impossible length");
  EXPECT_EQ(read("0604001e1122334455667788" "0300003503616263" "000001020000" "0a000001"), "unknown address type") << "errors are about addresses";
}

TEST(Socks6Udp, AMessageNeverExceedsItsLengthField) {
  std::array<std::uint8_t, udp_header_max_bytes> out{};
  const auto server = socks::Target::of(*SocketAddress::parse("192.0.2.1:53"));
  EXPECT_EQ(encode_udp_header(association, server, 65'535 - 20, out), 20u);
  EXPECT_EQ(encode_udp_header(association, server, 65'535 - 19, out), 0u);
  EXPECT_EQ(encode_udp_header(association, {std::string_view(), 53}, 0, out), 0u);
}

}  // namespace
}  // namespace epif::socks6
