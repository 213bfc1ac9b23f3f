#include "observe/program_of.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "net/tcp.h"

namespace epif::observe {
namespace {

TEST(ProgramOf, TheHolderOfAListenerAndOfADatagramSocketIsFound) {
  const SocketAddress home{*IpAddress::parse("127.0.0.1"), 0};
  const SocketAddress peer{*IpAddress::parse("127.0.0.1"), 9};
  const auto listener = net::listen(home, {});
  ASSERT_TRUE(listener);
  const auto found = holder_of(Protocol::tcp, net::local_address(listener->get()), {});
  ASSERT_TRUE(found);
  EXPECT_EQ(commands_with({found->inode}).at(found->inode), "observe_test");
  const Fd datagrams(::socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_storage place{};
  const auto length = net::to_sockaddr(home, place);
  ASSERT_EQ(::bind(datagrams.get(), reinterpret_cast<const sockaddr*>(&place), length), 0);
  const auto holder = holder_of(Protocol::udp, net::local_address(datagrams.get()), peer);
  ASSERT_TRUE(holder);
  EXPECT_EQ(commands_with({holder->inode, 1}).at(holder->inode), "observe_test");
}

TEST(ProgramOf, ASocketThatIsGoneIsNobodys) {
  const SocketAddress nobody{*IpAddress::parse("127.0.0.1"), 1};
  EXPECT_FALSE(holder_of(Protocol::tcp, nobody, nobody));
  EXPECT_TRUE(commands_with({0xffffffff}).empty());
}

}  // namespace
}  // namespace epif::observe
