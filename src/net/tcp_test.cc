#include "net/tcp.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/resolver.h"

namespace epif::net {
namespace {

struct TcpTest : ::testing::Test {
  std::unique_ptr<Loop> loop = Loop::make().value();

  Result<Connected> connect_to(SocketAddress to, ConnectOptions options = {}, std::string first = {}) {
    std::optional<Result<Connected>> outcome;
    spawn(run(*loop, to, options, first, outcome));
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    while (!outcome && Clock::now() < deadline) loop->run_once(std::chrono::milliseconds(10));
    return std::move(outcome.value());
  }
  static Task<> run(Loop& loop, SocketAddress to, ConnectOptions options, const std::string& first,
                    std::optional<Result<Connected>>& outcome) {
    auto made = co_await connect(loop, to, options, as_bytes(first), Clock::now() + std::chrono::seconds(5));
    outcome = std::move(made);
  }
};

TEST_F(TcpTest, BothFamiliesConnectAndTheAcceptorKnowsItsPeer) {
  for (const auto* host : {"127.0.0.1:0", "[::1]:0"}) {
    SocketAddress seen;
    Acceptor acceptor(*loop, listen(*SocketAddress::parse(host), {}).value(), [&](Fd, SocketAddress peer) { seen = peer; });
    auto made = connect_to(acceptor.address());
    ASSERT_TRUE(made) << made.error().text();
    for (int i = 0; i < 100 && seen.port == 0; ++i) loop->run_once(std::chrono::milliseconds(10));
    EXPECT_EQ(seen, local_address(made->stream->fd()));
  }
}

TEST_F(TcpTest, ARefusedConnectionSaysSoAndNamesTheAddress) {
  SocketAddress at;
  {
    const auto listener = listen(*SocketAddress::parse("127.0.0.1:0"), {}).value();
    at = local_address(listener.get());
  }
  const auto made = connect_to(at);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::refused);
  EXPECT_EQ(made.error().where, at.text());
}

TEST_F(TcpTest, AConnectionThatWasCutIsNotBegunAnew) {
  const auto listener = listen(*SocketAddress::parse("127.0.0.1:0"), {}).value();
  auto made = connect_to(local_address(listener.get()));
  ASSERT_TRUE(made);
  made->stream->abort({Code::revoked, "consent withdrawn"});
  std::optional<Result<>> outcome;
  spawn([](SocketStream& stream, SocketAddress to, std::optional<Result<>>& out) -> Task<> {
    auto stands = co_await until_established(stream, to, false, Clock::now() + std::chrono::milliseconds(200));
    out = std::move(stands);
  }(*made->stream, local_address(listener.get()), outcome));
  for (int i = 0; i < 100 && !outcome; ++i) loop->run_once(std::chrono::milliseconds(10));
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(outcome->has_value());
  EXPECT_EQ(outcome->error().code, Code::revoked);
  tcp_info now{};
  socklen_t size = sizeof now;
  ASSERT_EQ(::getsockopt(made->stream->fd(), IPPROTO_TCP, TCP_INFO, &now, &size), 0);
  EXPECT_EQ(now.tcpi_state, TCP_CLOSE) << "a SYN has left";
}

Fd accepted(const Fd& listener) { return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)); }

TEST_F(TcpTest, WhoSpeaksAtOnceSendsTheHandshakesEndWithItsBytes) {
  ConnectOptions speaks;
  speaks.speaks_at_once = true;
  const auto listener = listen(*SocketAddress::parse("127.0.0.1:0"), {}).value();
  // The kernel waits 200 ms for the bytes: this thread may have been kept from its core for as long.
  bool together = false;
  for (int attempt = 0; attempt < 5 && !together; ++attempt) {
    auto made = connect_to(local_address(listener.get()), speaks, "hello");
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->sent, 0u);
    together = !accepted(listener);
    ASSERT_EQ(made->stream->write_some(as_bytes("hello")).state, Io::State::moved);
    if (together) {
      EXPECT_TRUE(accepted(listener)) << "its bytes end the handshake";
    }
  }
  EXPECT_TRUE(together);
  auto other = connect_to(local_address(listener.get()));
  ASSERT_TRUE(other);
  EXPECT_TRUE(accepted(listener)) << "what is compared with is not what it was";
}

TEST_F(TcpTest, WhoSaysThatItSpeaksAndDoesNotIsHeardOfAllTheSame) {
  SocketAddress seen;
  Acceptor acceptor(*loop, listen(*SocketAddress::parse("127.0.0.1:0"), {}).value(), [&](Fd, SocketAddress peer) { seen = peer; });
  ConnectOptions speaks;
  speaks.speaks_at_once = true;
  auto made = connect_to(acceptor.address(), speaks, "hello");
  ASSERT_TRUE(made) << made.error().text();
  for (int i = 0; i < 500 && seen.port == 0; ++i) loop->run_once(std::chrono::milliseconds(10));
  EXPECT_EQ(seen, local_address(made->stream->fd()));
}

TEST_F(TcpTest, APortInUseIsAnErrorThatNamesIt) {
  const auto first = listen(*SocketAddress::parse("127.0.0.1:0"), {}).value();
  const auto second = listen(local_address(first.get()), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::address_in_use);
}

TEST_F(TcpTest, FastOpenFallsBackToAPlainHandshake) {
  Acceptor acceptor(*loop, listen(*SocketAddress::parse("127.0.0.1:0"), {.fast_open = true}).value(), [](Fd, SocketAddress) {});
  const auto made = connect_to(acceptor.address(), {.fast_open = true}, "hello");
  ASSERT_TRUE(made) << made.error().text();
}

TEST_F(TcpTest, NamesResolveWithoutBlockingAndUnknownOnesFail) {
  Resolver resolver;
  struct Case {
    static Task<> run(Resolver& from, Loop& on, std::string name, std::optional<Result<std::vector<IpAddress>>>& out) {
      Resolver::Asking asking({}, Clock::now() + std::chrono::seconds(30));
      auto found = co_await from.resolve(on, std::move(name), asking);
      out = std::move(found);
    }
  };
  std::optional<Result<std::vector<IpAddress>>> local, unknown;
  spawn(Case::run(resolver, *loop, "localhost", local));
  spawn(Case::run(resolver, *loop, "no-such-host.invalid", unknown));
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  while ((!local || !unknown) && Clock::now() < deadline) loop->run_once(std::chrono::milliseconds(10));
  ASSERT_TRUE(local && local->has_value());
  EXPECT_TRUE((**local)[0].is_loopback());
  ASSERT_TRUE(unknown && !unknown->has_value());
  EXPECT_EQ(unknown->error().code, Code::host_unreachable);
}

}  // namespace
}  // namespace epif::net
