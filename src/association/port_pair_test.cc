#include "association/port_pair.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "net/datagrams.h"
#include "net/tcp.h"

namespace epif::association {
namespace {

constexpr socks6::PortParity even{1, false}, even_with_counterpart{1, true}, odd{2, false};

std::uint16_t port_of(const Fd& socket) { return net::local_address(socket.get()).port; }

/// A socket of 127.0.0.1 with a port of this parity.
Fd any_port(bool odd_one) {
  for (;;) {
    auto made = net::bind_datagrams({*IpAddress::parse("127.0.0.1"), 0}, {}).value();
    if ((port_of(made) % 2 == 1) == odd_one) return made;
  }
}

TEST(PortPair, ASystemWithoutIpv6BindsIpv4) {
  unsigned six = 0;
  const Bind bind = [&](const SocketAddress& at) -> Result<Fd> {
    six += at.ip.is_v6();
    if (at.ip.is_v6()) return fail(Code::unsupported, "cannot make a socket", at.text());
    return net::bind_datagrams(at, {});
  };
  const auto pair = bind_with_parity(IpAddress{}, odd, bind);
  ASSERT_TRUE(pair) << pair.error().text();
  EXPECT_EQ(port_of(pair->socket) % 2, 1);
  const auto both = bind_with_parity(IpAddress{}, even_with_counterpart, bind);
  ASSERT_TRUE(both) << both.error().text();
  ASSERT_TRUE(both->counterpart);
  EXPECT_EQ(port_of(both->counterpart), port_of(both->socket) + 1);
  EXPECT_TRUE(bind_either_family({}, bind));
  EXPECT_GE(six, 3u) << "both families come first";
}

TEST(PortPair, APortInUseIsNotTriedInTheOtherFamily) {
  unsigned four = 0;
  const Bind bind = [&](const SocketAddress& at) -> Result<Fd> {
    four += at.ip.is_v4();
    return fail(Code::address_in_use, "cannot bind", at.text());
  };
  EXPECT_EQ(bind_either_family({{}, 5004}, bind).error().code, Code::address_in_use);
  EXPECT_EQ(bind_with_parity({}, even, bind).error().code, Code::address_in_use);
  EXPECT_EQ(four, 0u);
}

TEST(PortPair, WithoutACounterpartTheParityIsKept) {
  // An even port is offered once, in the middle; every counterpart is taken.
  unsigned offered = 0;
  std::uint16_t even_port = 0;
  const Bind bind = [&](const SocketAddress& at) -> Result<Fd> {
    if (at.port != 0) return fail(Code::address_in_use, "cannot bind", at.text());
    const bool is_even = ++offered == 3;
    auto made = any_port(!is_even);
    if (is_even) even_port = port_of(made);
    return made;
  };
  const auto pair = bind_with_parity(*IpAddress::parse("127.0.0.1"), even_with_counterpart, bind);
  ASSERT_TRUE(pair) << pair.error().text();
  EXPECT_EQ(offered, limits::udp_parity_attempts);
  EXPECT_EQ(port_of(pair->socket), even_port);
  EXPECT_FALSE(pair->counterpart);
}

TEST(PortPair, WithoutTheParityThereIsAPortAllTheSame) {
  const Bind bind = [&](const SocketAddress&) -> Result<Fd> { return any_port(true); };
  const auto pair = bind_with_parity(*IpAddress::parse("127.0.0.1"), even, bind);
  ASSERT_TRUE(pair) << pair.error().text();
  EXPECT_EQ(port_of(pair->socket) % 2, 1);
}

}  // namespace
}  // namespace epif::association
