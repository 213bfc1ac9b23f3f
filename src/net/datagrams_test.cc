#include "net/datagrams.h"

#include <gtest/gtest.h>

#include <netinet/ip.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "net/icmp_error.h"

namespace epif::net {
namespace {

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

struct Sockets {
  std::unique_ptr<Loop> loop = *Loop::make();
  PacketReader reader;
  PacketSender sender;

  std::unique_ptr<DatagramSocket> open(std::string_view address, const DatagramOptions& options = {}) {
    auto made = DatagramSocket::open(*loop, at(address), options);
    EXPECT_TRUE(made) << made.error().text();
    return std::move(*made);
  }
};

TEST(Datagrams, ABatchIsSentAndReadWithHeadersInFront) {
  Sockets world;
  auto from = world.open("127.0.0.1:0");
  auto to = world.open("127.0.0.1:0");
  const std::string payload = "hello";
  for (std::uint8_t i = 0; i < limits::udp_batch; ++i) {
    world.sender.header()[0] = i;
    world.sender.add(*from, to->address(), 1, as_bytes(payload));
  }
  world.sender.flush();
  EXPECT_EQ(world.sender.take_outcome().sent, limits::udp_batch);
  const auto packets = world.reader.read(*to);
  ASSERT_EQ(packets.size(), limits::udp_batch);
  for (std::uint8_t i = 0; i < limits::udp_batch; ++i) {
    EXPECT_EQ(packets[i].from, from->address());
    EXPECT_EQ(packets[i].payload[0], i);
    EXPECT_EQ(as_text(packets[i].payload.subspan(1)), payload);
  }
  EXPECT_TRUE(world.reader.read(*to).empty());
}

TEST(Datagrams, OneSocketCarriesBothFamilies) {
  Sockets world;
  auto both = world.open("[::]:0", {.dual_stack = true, .tos = 0x20, .ttl = 33, .no_fragmentation = true});
  auto four = world.open("127.0.0.1:0");
  auto six = world.open("[::1]:0");
  for (auto* other : {four.get(), six.get()}) {
    world.sender.add(*both, other->address(), 0, as_bytes("x"));
    world.sender.flush();
    const auto packets = world.reader.read(*other);
    ASSERT_EQ(packets.size(), 1u);
    EXPECT_EQ(packets[0].from.port, both->address().port);
    EXPECT_EQ(packets[0].from.ip.is_v4(), other == four.get());
  }
  EXPECT_EQ(ttl_in_force(both->fd()), 33);
  EXPECT_EQ(tos_in_force(both->fd()), 0x20);
}

TEST(Datagrams, AnswersComeFromTheAddressThatWasAsked) {
  Sockets world;
  auto wide = world.open("0.0.0.0:0", {.local_address = true});
  auto client = world.open("127.0.0.1:0");
  world.sender.add(*client, {*IpAddress::parse("127.0.0.9"), wide->address().port}, 0, as_bytes("x"));
  world.sender.flush();
  const auto packets = world.reader.read(*wide);
  ASSERT_EQ(packets.size(), 1u);
  EXPECT_EQ(packets[0].local.text(), "127.0.0.9");
  world.sender.add(*wide, packets[0].from, 0, as_bytes("y"), {.from = packets[0].local});
  world.sender.flush();
  const auto answers = world.reader.read(*client);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].from.ip.text(), "127.0.0.9");
}

TEST(Datagrams, EachPacketHasItsOwnTosTtlAndFragmentation) {
  Sockets world;
  auto both = world.open("[::]:0", {.dual_stack = true});
  for (const auto* host : {"127.0.0.1:0", "[::1]:0"}) {
    auto to = world.open(host);
    const bool six = to->is_v6();
    const int on = 1;
    const int level = six ? IPPROTO_IPV6 : IPPROTO_IP;
    ASSERT_EQ(::setsockopt(to->fd(), level, six ? IPV6_RECVTCLASS : IP_RECVTOS, &on, sizeof on), 0);
    ASSERT_EQ(::setsockopt(to->fd(), level, six ? IPV6_RECVHOPLIMIT : IP_RECVTTL, &on, sizeof on), 0);
    world.sender.add(*both, to->address(), 0, as_bytes("x"), {.from = to->address().ip, .tos = 0x28, .ttl = 33, .no_fragmentation = true});
    world.sender.add(*both, to->address(), 0, as_bytes("y"));
    world.sender.flush();
    for (const auto& wanted : {std::pair{0x28, 33}, std::pair{0, 64}}) {
      std::array<std::uint8_t, 8> bytes{};
      iovec part{bytes.data(), bytes.size()};
      alignas(cmsghdr) std::array<std::uint8_t, 256> control{};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      ASSERT_EQ(::recvmsg(to->fd(), &header, 0), 1);
      std::pair got{-1, -1};
      for (auto* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
        const bool is_tos = item->cmsg_type == (six ? IPV6_TCLASS : IP_TOS);
        if (is_tos) got.first = *CMSG_DATA(item);
        if (item->cmsg_type == (six ? IPV6_HOPLIMIT : IP_TTL)) got.second = *CMSG_DATA(item);
      }
      EXPECT_EQ(got, wanted) << host;
    }
  }
}

TEST(Datagrams, WhatMustNotBeFragmentedIsRefusedAndTheNextPacketIsNot) {
  Sockets world;
  auto both = world.open("[::]:0", {.dual_stack = true});
  // More than loopback's 65,536 bytes of MTU with the headers of IPv6, less than UDP takes.
  const Bytes large(65'500, 7);
  for (const auto* host : {"127.0.0.1:0", "[::1]:0"}) {
    auto to = world.open(host);
    world.sender.add(*both, to->address(), 0, large, {.no_fragmentation = true});
    world.sender.add(*both, to->address(), 0, large);
    world.sender.flush();
    const auto outcome = world.sender.take_outcome();
    EXPECT_EQ(outcome.too_big, to->is_v6() ? 1u : 0u) << host;
    EXPECT_EQ(outcome.sent, to->is_v6() ? 1u : 2u) << host;
  }
}

TEST(Datagrams, WhatAnotherProcessWishesForAMomentDoesNotStay) {
  Sockets world;
  const auto option = [](const DatagramSocket& socket, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(socket.fd(), level, name, &value, &size), 0);
    return value;
  };
  for (const auto* host : {"127.0.0.1:0", "[::1]:0"}) {
    auto shared = world.open(host);
    auto to = world.open(host);
    set_options(shared->fd(), {.no_fragmentation = true});  // the other one's moment
    world.sender.add(*shared, to->address(), 0, as_bytes("x"), {.no_fragmentation = true});
    world.sender.flush();
    EXPECT_EQ(option(*shared, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_WANT) << host;
    if (!shared->is_v6()) continue;
    EXPECT_EQ(option(*shared, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_WANT);
    EXPECT_EQ(option(*shared, IPPROTO_IPV6, IPV6_DONTFRAG), 0);
  }
}

/// Whether an epoll of this process tells of the descriptor.
bool is_watched(int fd) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream file(entry.path());
    for (std::string word; file >> word;) {
      int number = -1;
      if (word == "tfd:" && file >> number && number == fd) return true;
    }
  }
  return false;
}

TEST(Datagrams, WhatIsReadNoMoreWakesNobodyThoughItsSocketStays) {
  Sockets world;
  auto socket = world.open("127.0.0.1:0");
  auto to = world.open("127.0.0.1:0");
  EXPECT_TRUE(is_watched(socket->fd()));
  socket->interest().fail({Code::internal, "a successor reads it"});
  EXPECT_FALSE(is_watched(socket->fd()));
  world.sender.add(*socket, to->address(), 0, as_bytes("x"));
  world.sender.flush();
  EXPECT_EQ(world.reader.read(*to).size(), 1u) << "it still sends";
}

TEST(Datagrams, WhatCannotLeaveIsCountedAndTakesNothingElseAlong) {
  Sockets world;
  auto from = world.open("127.0.0.1:0");
  auto to = world.open("127.0.0.1:0");
  const Bytes huge(65'536, 7);
  world.sender.add(*from, to->address(), 0, huge);
  world.sender.add(*from, at("[::1]:9"), 0, as_bytes("x"));
  world.sender.add(*from, to->address(), 0, as_bytes("x"));
  world.sender.flush();
  const auto outcome = world.sender.take_outcome();
  EXPECT_EQ(outcome.too_big, 1u);
  EXPECT_EQ(outcome.unreachable, 1u);
  EXPECT_EQ(outcome.sent, 1u);
  EXPECT_EQ(world.reader.read(*to).size(), 1u);
}

TEST(Datagrams, SharedPortsAreChosenByTheNumberInTheDatagram) {
  Sockets world;
  auto first = world.open("127.0.0.1:0", {.reuse_port = true});
  auto second = world.open(first->address().text(), {.reuse_port = true});
  ASSERT_TRUE(steer_by_number(first->fd(), 4, 2));
  auto client = world.open("127.0.0.1:0");
  for (std::uint8_t number = 0; number < 8; ++number) {
    const std::array<std::uint8_t, 6> message{6, 3, 0, 0, 0x7f, number};
    world.sender.add(*client, first->address(), 0, message);
    world.sender.flush();
    EXPECT_EQ(world.reader.read(*first).size(), number % 2 == 0 ? 1u : 0u);
    EXPECT_EQ(world.reader.read(*second).size(), number % 2 == 0 ? 0u : 1u);
  }
}

TEST(Datagrams, ARefusedDatagramIsReported) {
  Sockets world;
  for (const auto* host : {"127.0.0.1", "[::1]"}) {
    auto from = world.open("[::]:0", {.dual_stack = true, .icmp_errors = true});
    auto closed = world.open(std::string(host) + ":0");
    const auto nobody = closed->address();
    closed.reset();
    world.sender.add(*from, nobody, 0, as_bytes("x"));
    world.sender.flush();
    const auto error = next_icmp_error(from->fd());
    ASSERT_TRUE(error) << host;
    EXPECT_EQ(error->destination, nobody);
    EXPECT_EQ(error->reporter, nobody.ip);
    EXPECT_EQ(error->six, nobody.ip.is_v6());
    EXPECT_EQ(error->type, nobody.ip.is_v6() ? 1 : 3);
    EXPECT_FALSE(next_icmp_error(from->fd()));
  }
}

}  // namespace
}  // namespace epif::net
