#include "net/socket_owner.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp.h"
#include "net/udp.h"

namespace epif::net {
namespace {

const SocketAddress anywhere{*IpAddress::parse("127.0.0.1"), 0};

TEST(SocketOwner, AConnectionIsItsMakersAndAListenerOnItsPortIsNot) {
  const auto listener = listen(anywhere, {});
  ASSERT_TRUE(listener);
  const auto at = local_address(listener->get());
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const auto length = to_sockaddr(at, storage);
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  const auto owner = connection_owner(local_address(client.get()), at);
  ASSERT_TRUE(owner) << owner.error().text();
  EXPECT_EQ(owner->user, ::getuid());
  // A connection from the listener's own port, which there is not.
  const auto none = connection_owner(at, {anywhere.ip, 9});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::not_found);
}

TEST(SocketOwner, ADatagramSocketIsFoundByItsPortWhereverItIsBound) {
  for (const auto* address : {"127.0.0.1", "0.0.0.0"}) {
    const auto socket = udp_socket({*IpAddress::parse(address), 0}, {});
    ASSERT_TRUE(socket);
    const SocketAddress local{anywhere.ip, local_address(socket->get()).port};
    const auto owner = datagram_owner(local);
    ASSERT_TRUE(owner) << owner.error().text();
    EXPECT_EQ(owner->user, ::getuid());
  }
}

TEST(SocketOwner, AClosedSocketIsNobodys) {
  std::uint16_t port = 0;
  {
    const auto socket = udp_socket(anywhere, {});
    ASSERT_TRUE(socket);
    port = local_address(socket->get()).port;
  }
  EXPECT_FALSE(datagram_owner({anywhere.ip, port}));
}

TEST(SocketOwner, APortThatUsersShareIsNobodys) {
  if (::geteuid() != 0) FAIL() << "cannot run: needs root to make another user's socket";
  const auto mine = udp_socket(anywhere, {.reuse_address = true});
  ASSERT_TRUE(mine);
  const auto local = local_address(mine->get());
  ASSERT_TRUE(datagram_owner(local));
  ASSERT_EQ(::seteuid(65534), 0);
  const auto other = udp_socket(local, {.reuse_address = true});
  ASSERT_EQ(::seteuid(0), 0);
  ASSERT_TRUE(other) << other.error().text();
  EXPECT_FALSE(datagram_owner(local));
}

}  // namespace
}  // namespace epif::net
