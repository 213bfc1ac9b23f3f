#include "redirect/sockets.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/tcp.h"

namespace epif::redirect {
namespace {

Fd listening(const char* at) { return net::listen(*SocketAddress::parse(at), {}).value(); }

TEST(Sockets, EachArrivesAtItsThreadAndIsTheSame) {
  std::vector<Sockets> threads(2);
  threads[0].connections.push_back(listening("127.0.0.1:0"));
  threads[0].connections.push_back(listening("127.0.0.2:0"));
  threads[1].dns_connections.push_back(listening("127.0.0.3:0"));
  auto things = copies_of(threads).value();
  ASSERT_EQ(things.size(), 3u);
  things.insert(things.begin(), {"claim", Fd()});
  const auto taken = take_sockets(things);
  ASSERT_TRUE(taken) << taken.error().text();
  ASSERT_EQ(things.size(), 1u) << "what is no socket stays";
  ASSERT_EQ(taken->size(), 2u);
  ASSERT_EQ((*taken)[0].connections.size(), 2u);
  EXPECT_EQ(net::local_address((*taken)[0].connections[1].get()), net::local_address(threads[0].connections[1].get()));
  ASSERT_EQ((*taken)[1].dns_connections.size(), 1u);
  EXPECT_TRUE((*taken)[1].datagrams.empty());
}

TEST(Sockets, WhatIsUnknownOrLostIsRefused) {
  for (const auto* what : {"socket tunnels 0", "socket connections", "socket connections 100000", "socket connections 0"}) {
    std::vector<net::Handed> things;
    things.push_back({what, Fd()});
    const auto taken = take_sockets(things);
    ASSERT_FALSE(taken) << what;
    EXPECT_EQ(taken.error().code, Code::protocol);
  }
}

}  // namespace
}  // namespace epif::redirect
