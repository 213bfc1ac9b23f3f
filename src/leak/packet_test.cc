#include "leak/packet.h"

#include <gtest/gtest.h>

namespace epif::leak {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
const Ends four{ip("10.1.0.10"), ip("10.2.0.20")};
const Ends six{ip("fd01::10"), ip("fd02::20")};

TEST(Packet, HeadersReadBackAsTheyWereWritten) {
  for (const auto& ends : {four, six}) {
    const auto packet = ip_packet(ends, 17, udp_datagram(ends, 4000, 53, as_bytes("data")));
    const auto header = read_header(packet);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->from, ends.from);
    EXPECT_EQ(header->to, ends.to);
    EXPECT_EQ(header->from_port, 4000);
    EXPECT_EQ(header->to_port, 53);
    EXPECT_TRUE(header->plain);
  }
}

TEST(Packet, ChecksumsOfAValidPacketSumToZero) {
  const auto packet = ip_packet(four, 17, {});
  EXPECT_EQ(checksum(ByteSpan(packet).first(20)), 0);
  EXPECT_EQ(checksum(echo_request(four, as_bytes("x"))), 0);
}

TEST(Packet, ASourceRouteNamesItsLastHopAndIsNotPlain) {
  for (const auto& ends : {four, six}) {
    const auto last = ends.to.is_v6() ? ip("fd09::9") : ip("10.9.0.9");
    const auto packet = ip_packet(ends, 17, as_bytes("data"), {.options = source_route(last)});
    const auto header = read_header(packet);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->to, ends.to);
    EXPECT_FALSE(header->plain);
    EXPECT_NE(as_text(packet).find(as_text(last.bytes())), std::string_view::npos);
  }
}

TEST(Packet, FragmentsAreNotPlainAndLaterOnesHaveNoPorts) {
  for (const auto& ends : {four, six}) {
    const auto later = read_header(ip_packet(ends, 17, as_bytes("0123456789abcdef"), {.fragment = 100}));
    ASSERT_TRUE(later);
    EXPECT_FALSE(later->plain);
    EXPECT_EQ(later->to_port, 0);
  }
}

TEST(Packet, AHiddenTagIsLookedBehind) {
  Bytes tagged{0x00, 0x05, 0x08, 0x00};
  const auto packet = ip_packet(four, 17, udp_datagram(four, 1, 9, {}));
  tagged.insert(tagged.end(), packet.begin(), packet.end());
  const auto header = read_header(tagged);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->to, four.to);
}

TEST(Packet, GarbageIsNoHeader) {
  EXPECT_FALSE(read_header({}));
  EXPECT_FALSE(read_header(Bytes{0x45, 0, 0}));
  EXPECT_FALSE(read_header(Bytes(60, 0)));
  EXPECT_FALSE(asked_by_arp(Bytes(10, 0)));
}

TEST(Packet, TokensDifferAndFitIntoANameLabel) {
  const auto one = make_token();
  EXPECT_EQ(one.size(), token_bytes);
  EXPECT_NE(one, make_token());
  EXPECT_NE(as_text(dns_query(one, false)).find(one), std::string_view::npos);
  EXPECT_EQ(wire_name("pacs.example."), std::string("\4pacs\7example\0", 14));
  for (const auto* bad : {"", ".", "a..b", ".a"}) EXPECT_EQ(wire_name(bad), "") << bad;
  EXPECT_EQ(wire_name(std::string(64, 'x')), "");
  const auto over_tcp = dns_query(one, true);
  EXPECT_EQ(load_u16(over_tcp.data()) + 2u, over_tcp.size());
}

TEST(Packet, AQuicInitialHasItsSmallestLegalSizeAndItsLengthIsRight) {
  const auto token = make_token();
  const auto packet = quic_initial(token);
  EXPECT_EQ(packet.size(), 1200u);
  const auto length_at = 6 + token.size() + 2;
  EXPECT_EQ(load_u16(&packet[length_at]) & 0x3fff, packet.size() - length_at - 2);
}

}  // namespace
}  // namespace epif::leak
