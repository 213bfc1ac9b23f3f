#include <gtest/gtest.h>

#include "base/limits.h"
#include "model/document.h"
#include "observe/dns_answer.h"
#include "observe/draft.h"
#include "observe/record.h"
#include "observe/segment.h"

namespace epif::observe {
namespace {

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }
IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

Segment segment(Segment::Kind kind, std::string_view from, std::string_view to, std::uint32_t number = 0) {
  Segment made;
  made.kind = kind;
  made.from = at(from);
  made.to = at(to);
  (kind == Segment::Kind::datagram ? made.bytes : made.sequence) = number;
  return made;
}
using enum Segment::Kind;

/// A connection from `client` that carries so many bytes each way.
void connection(Record& record, std::string_view client, std::string_view server, bool outgoing, std::uint32_t up, std::uint32_t down) {
  constexpr std::uint32_t first = 0xfffffff0;  // so that numbers wrap
  record.take(segment(tcp_begin, client, server, first), outgoing);
  record.take(segment(tcp_accept, server, client, 7), !outgoing);
  record.take(segment(tcp_end, client, server, first + 1 + up), outgoing);
  record.take(segment(tcp_end, server, client, 8 + down), !outgoing);
}

TEST(Record, AConnectionCountsOnceWithItsBytesEachWay) {
  Record record;
  connection(record, "10.1.0.10:4000", "10.2.0.20:80", true, 100, 5000);
  const auto& [key, seen] = *record.flows().begin();
  EXPECT_TRUE(key.outgoing);
  EXPECT_EQ(key.peer, ip("10.2.0.20"));
  EXPECT_EQ(key.port, 80);
  EXPECT_EQ(seen.connections, 1u);
  EXPECT_EQ(seen.to_server_bytes, 100u);
  EXPECT_EQ(seen.to_client_bytes, 5000u);
}

TEST(Record, ARepeatedBeginningIsNoSecondConnection) {
  Record record;
  EXPECT_NE(record.take(segment(tcp_begin, "10.1.0.10:4000", "10.2.0.20:80", 5), true), nullptr);
  EXPECT_EQ(record.take(segment(tcp_begin, "10.1.0.10:4000", "10.2.0.20:80", 5), true), nullptr);
  EXPECT_EQ(record.flows().begin()->second.connections, 1u);
}

TEST(Record, ARefusedConnectionIsSaidToBe) {
  Record record;
  record.take(segment(tcp_begin, "10.1.0.10:4000", "10.2.0.20:80", 5), true);
  record.take(segment(tcp_end, "10.2.0.20:80", "10.1.0.10:4000", 0), false);
  EXPECT_EQ(record.flows().begin()->second.refused, 1u);
}

TEST(Record, AConnectionThatIsOlderCountsOnceWithTheBytesOfItsLife) {
  Record record;
  const Standing before{at("10.1.0.10:4000"), at("10.2.0.20:80"), true, 100, 5000};
  ASSERT_NE(record.take(before), nullptr);
  auto after = before;
  after.sent = 150;
  EXPECT_EQ(record.take(after), nullptr);
  record.take(segment(tcp_end, "10.1.0.10:4000", "10.2.0.20:80", 77), true);  // tells no bytes: the first number is unknown
  const auto& [key, seen] = *record.flows().begin();
  EXPECT_TRUE(key.outgoing);
  EXPECT_EQ(key.port, 80);
  EXPECT_EQ(seen.connections, 1u);
  EXPECT_EQ(seen.older, 1u);
  EXPECT_EQ(seen.refused, 0u);
  EXPECT_EQ(seen.to_server_bytes, 150u);
  EXPECT_EQ(seen.to_client_bytes, 5000u);
}

TEST(Record, AConnectionThatGoesOnIsNoOlderOneAndItsEndIsNotCountedTwice) {
  Record record;
  record.take(segment(tcp_begin, "10.9.0.9:4002", "10.1.0.10:22", 5), false);
  record.take(segment(tcp_accept, "10.1.0.10:22", "10.9.0.9:4002", 7), true);
  record.take(segment(tcp_end, "10.9.0.9:4002", "10.1.0.10:22", 5 + 1 + 40), false);
  EXPECT_EQ(record.take(Standing{at("10.1.0.10:22"), at("10.9.0.9:4002"), false, 300, 41}), nullptr);
  const auto& seen = record.flows().begin()->second;
  EXPECT_EQ(seen.connections, 1u);
  EXPECT_EQ(seen.older, 0u);
  EXPECT_EQ(seen.to_server_bytes, 40u);
  EXPECT_EQ(seen.to_client_bytes, 300u);
}

TEST(Record, AConnectionWhoseEndWasSeenDoesNotCountAgainWhileTheKernelStillShowsIt) {
  Record record;
  const Standing shown{at("10.1.0.10:22"), at("10.9.0.9:4002"), false, 0, 0};
  const auto begin_and_end = [&] {
    record.take(segment(tcp_begin, "10.9.0.9:4002", "10.1.0.10:22", 5), false);
    record.take(segment(tcp_accept, "10.1.0.10:22", "10.9.0.9:4002", 7), true);
    record.take(segment(tcp_end, "10.9.0.9:4002", "10.1.0.10:22", 6), false);
    record.take(segment(tcp_end, "10.1.0.10:22", "10.9.0.9:4002", 8), true);
  };
  begin_and_end();
  EXPECT_EQ(record.take(shown), nullptr);
  EXPECT_EQ(record.flows().begin()->second.connections, 1u);
  begin_and_end();  // the same ports again are another connection
  EXPECT_EQ(record.flows().begin()->second.connections, 2u);
  EXPECT_EQ(record.flows().begin()->second.older, 0u);
}

TEST(Record, DatagramsBelongToTheSideWithTheHigherPort) {
  Record record;
  record.take(segment(datagram, "10.2.0.53:53", "10.1.0.10:4000", 70), false);  // the question was not seen
  record.take(segment(datagram, "10.1.0.10:4000", "10.2.0.53:53", 30), true);
  ASSERT_EQ(record.flows().size(), 1u);
  const auto& [key, seen] = *record.flows().begin();
  EXPECT_TRUE(key.outgoing);
  EXPECT_EQ(key.port, 53);
  EXPECT_EQ(seen.connections, 1u);
  EXPECT_EQ(seen.to_server_bytes, 30u);
  EXPECT_EQ(seen.to_client_bytes, 70u);
}

TEST(Record, MemoryIsBounded) {
  Record record;
  for (std::uint32_t i = 0; i < limits::observed_flows + 100; ++i) {
    Bytes four{10, 2, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
    Segment one = segment(tcp_begin, "10.1.0.10:4000", "10.2.0.20:80", i);
    one.to.ip = IpAddress::v4(four);
    record.take(one, true);
    record.name(one.to.ip, "host");
  }
  EXPECT_EQ(record.flows().size(), limits::observed_flows);
  EXPECT_EQ(record.left_out(), 100u);
  for (std::uint32_t i = 0; i < limits::observed_exchanges + 100; ++i) {
    Segment one = segment(tcp_begin, "10.1.0.10:4000", "10.2.0.0:80", i);
    one.from.port = static_cast<std::uint16_t>(i);
    record.take(one, true);
  }
}

/// IPv6 with the extension headers, then a TCP segment with a FIN and three bytes, of sequence number 1000.
Bytes fin_behind(std::initializer_list<std::uint8_t> kinds, std::uint8_t flags = 0x11) {
  Bytes packet(40, 0);
  packet[0] = 0x60;
  packet[8] = 0xfd;
  packet[24] = 0xfd;
  packet[39] = 9;
  std::size_t next = 6;
  for (const auto kind : kinds) {
    packet[next] = kind;
    next = packet.size();
    packet.resize(packet.size() + 16);
    packet[next + 1] = 1;
  }
  packet[next] = 6;
  const Bytes tcp{0x10, 0x92, 0, 53, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c'};
  packet.insert(packet.end(), tcp.begin(), tcp.end());
  packet[5] = static_cast<std::uint8_t>(packet.size() - 40);
  return packet;
}

TEST(Segment, ExtensionHeadersOfIpv6ArePassedAndDoNotCountAsData) {
  for (const auto& packet : {fin_behind({}), fin_behind({0}), fin_behind({0, 43, 60})}) {
    const auto segment = read_segment(packet);
    ASSERT_TRUE(segment);
    EXPECT_EQ(segment->kind, tcp_end);
    EXPECT_EQ(segment->to, at("[fd00::9]:53"));
    EXPECT_EQ(segment->sequence, 1003u);
    EXPECT_EQ(as_text(segment->payload), "abc");
    for (std::size_t length = 0; length + 3 < packet.size(); ++length) {
      const auto cut = read_segment(ByteSpan(packet).first(length));
      EXPECT_TRUE(!cut || cut->payload.empty());
    }
  }
  EXPECT_FALSE(read_segment(fin_behind({44}))) << "a fragment";
}

TEST(Segment, DataOfTcpIsGivenAsFarAsCaptured) {
  const auto packet = fin_behind({60}, 0x10);
  const auto segment = read_segment(packet);
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->kind, tcp_data);
  EXPECT_EQ(as_text(segment->payload), "abc");
  EXPECT_FALSE(read_segment(ByteSpan(packet).first(packet.size() - 3))) << "an acknowledgement alone";
}

TEST(Segment, BreachesOfTheFormatAreNothing) {
  EXPECT_FALSE(read_segment({}));
  EXPECT_FALSE(read_segment(Bytes{0x45, 0, 0}));
  Bytes packet(40, 0);
  for (int version = 0; version < 256; ++version) {
    packet[0] = static_cast<std::uint8_t>(version);
    EXPECT_FALSE(read_segment(packet));
  }
}

/// www.Example.org is an alias of a.net, which has two addresses.
Bytes dns_message() {
  Bytes made{0, 1, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0};
  const auto text = [&](std::string_view label) {
    made.push_back(static_cast<std::uint8_t>(label.size()));
    made.insert(made.end(), label.begin(), label.end());
  };
  text("www");
  text("Example");
  text("org");
  made.insert(made.end(), {0, 0, 1, 0, 1});
  made.insert(made.end(), {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 7, 1, 'a', 3, 'n', 'e', 't', 0});
  made.insert(made.end(), {1, 'a', 3, 'n', 'e', 't', 0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 2, 0, 20});
  made.insert(made.end(), {1, 'a', 3, 'n', 'e', 't', 0, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20});
  return made;
}

TEST(DnsAnswer, AddressesBelongToTheNameThatWasAskedFor) {
  const auto answer = read_dns_answer(dns_message());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->name, "www.example.org");
  EXPECT_EQ(answer->addresses, (std::vector{ip("10.2.0.20"), ip("fd02::20")}));
}

TEST(DnsAnswer, EveryTruncationAndEveryChangedByteIsSurvived) {
  const auto whole = dns_message();
  for (std::size_t length = 0; length < whole.size(); ++length) static_cast<void>(read_dns_answer(ByteSpan(whole).first(length)));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto broken = whole;
    for (const int value : {0, 0x3f, 0xc0, 0xff}) {
      broken[i] = static_cast<std::uint8_t>(value);
      static_cast<void>(read_dns_answer(broken));
    }
  }
  auto question = whole;
  question[2] = 0x01;
  EXPECT_FALSE(read_dns_answer(question));
  Bytes loop{0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1};
  EXPECT_FALSE(read_dns_answer(loop));
}

TEST(Draft, IsReadBackWithoutAFault) {
  Record record;
  record.name(ip("10.2.0.20"), "pacs.example");
  record.name(ip("10.2.0.21"), "pacs.example");
  connection(record, "10.1.0.10:4000", "10.2.0.20:80", true, 1'000'000, 200);
  connection(record, "10.1.0.10:4001", "10.2.0.21:80", true, 100, 200);
  connection(record, "10.9.0.9:4002", "10.1.0.10:22", false, 100, 1'000'000);
  record.take(segment(datagram, "10.1.0.10:4000", "10.2.0.53:53", 30), true);
  record.note_program({true, ip("10.2.0.20"), 80, Protocol::tcp}, {"evil\n- name", "alice"});
  record.take(Standing{at("10.1.0.10:4009"), at("10.2.0.20:80"), true, 1, 1});
  const auto text = draft(record, {"host.with spaces", {ip("10.1.0.10")}, 5, 0, "no\nkernel"});
  EXPECT_NE(text.find("3 connections (1 began before, or unseen), 1000101 bytes"), std::string::npos) << text;
  EXPECT_NE(text.find("# Connections older than the observation are missing, too: no?kernel\n"), std::string::npos) << text;
  const auto resources = parse_resources(text, "draft");
  ASSERT_TRUE(resources) << resources.error().text() << "\n" << text;
  ResourceSet set;
  for (const auto& resource : *resources) ASSERT_TRUE(set.add(resource));
  EXPECT_TRUE(set.check()) << set.check().error().text();
  EXPECT_EQ(set.nodes.size(), 4u);
  const auto& pacs = set.nodes.at("there/pacs.example");
  EXPECT_EQ(pacs.addresses.size(), 2u);
  EXPECT_EQ(pacs.hostname, "pacs.example");
  const auto& flows = set.applications.begin()->second.flows;
  ASSERT_EQ(flows.size(), 3u);  // one for both addresses of a machine
  EXPECT_TRUE(std::ranges::any_of(flows, [](const Flow& flow) { return flow.data == DataDirection::push && flow.to == "there/pacs.example"; }));
  EXPECT_TRUE(std::ranges::any_of(flows, [](const Flow& flow) { return flow.data == DataDirection::pull && flow.port == 22; }));
  EXPECT_TRUE(std::ranges::any_of(flows, [](const Flow& flow) { return flow.protocol == Protocol::udp; }));
}

TEST(Draft, NamesFitTheAlphabet) {
  EXPECT_EQ(resource_name("fd02::20"), "fd02--20");
  EXPECT_EQ(resource_name("-a-"), "a");
  EXPECT_EQ(resource_name("::"), "unnamed");
  EXPECT_LE(resource_name(std::string(200, 'x')).size(), 63u);
}

}  // namespace
}  // namespace epif::observe
