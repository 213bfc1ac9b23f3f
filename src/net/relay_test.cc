#include "net/relay.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <deque>
#include <numeric>

#include "base/limits.h"
#include "net/pipe_pool.h"
#include "net/tcp.h"

namespace epif::net {
namespace {

/// What one end has received.
struct Sink {
  Bytes got;
  bool ended = false;
  std::optional<Error> error;
};

/// client === [a relay b] === server, four TCP sockets on loopback, all on one loop; with and without splice().
struct RelayTest : ::testing::TestWithParam<Splice> {
  RelayTest() { loop->pipes().set_mode(GetParam()); }

  std::unique_ptr<Loop> loop = Loop::make().value();
  std::unique_ptr<SocketStream> client, a, b, server;
  Carried from_a, from_b;
  std::optional<Result<>> outcome;

  std::pair<std::unique_ptr<SocketStream>, std::unique_ptr<SocketStream>> tcp_pair() {
    auto listener = listen(*SocketAddress::parse("127.0.0.1:0"), {}).value();
    const auto at = local_address(listener.get());
    sockaddr_storage storage{};
    const auto length = to_sockaddr(at, storage);
    Fd one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(one.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    Fd two;
    while (!two) two = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return {std::make_unique<SocketStream>(*loop, std::move(one)), std::make_unique<SocketStream>(*loop, std::move(two))};
  }

  static Task<> run(RelayTest& test, RelayTimes times, PumpGate* gate) {
    auto result = co_await relay({*test.a, {}, gate}, {*test.b}, test.from_a, test.from_b, times);
    test.outcome = std::move(result);
    test.a.reset();
    test.b.reset();
  }

  void start(RelayTimes times = {60, 60}, PumpGate* gate = nullptr) {
    std::tie(client, a) = tcp_pair();
    std::tie(b, server) = tcp_pair();
    spawn(run(*this, times, gate));
  }

  /// Lives until the relay has ended: a test that is over earlier leaves its readers waiting.
  Sink& sink() { return sinks.emplace_back(); }
  std::deque<Sink> sinks{};

  void TearDown() override {
    for (auto* stream : {&client, &server, &a, &b}) {
      if (*stream) (*stream)->abort({Code::internal, "the test is over"});
    }
    until([&] { return outcome.has_value(); });
  }

  template <class Condition>
  void until(Condition condition) {
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (!condition() && Clock::now() < deadline) loop->run_once(std::chrono::milliseconds(20));
    ASSERT_TRUE(condition());
  }
};

Task<> collect(Stream& from, Sink& sink) {
  Bytes buffer(100'000);
  for (;;) {
    auto n = co_await read_more(from, buffer);
    if (!n) {
      sink.error = n.error();
      co_return;
    }
    if (*n == 0) {
      sink.ended = true;
      co_return;
    }
    sink.got.insert(sink.got.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*n));
  }
}

Task<> say(Stream& to, Bytes bytes, bool end) {
  auto written = co_await write_all(to, bytes);
  EXPECT_TRUE(written);
  if (end) {
    auto ended = co_await end_write(to);
    EXPECT_TRUE(ended);
  }
}

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  std::uint32_t state = 1;
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

TEST_P(RelayTest, AHalfClosedFlowCarriesTheOtherDirectionToItsEnd) {
  start();
  const auto up = pattern(3'000'000);
  const auto down = pattern(5'000'000);
  auto& at_server = sink();
  auto& at_client = sink();
  spawn(collect(*server, at_server));
  spawn(collect(*client, at_client));
  spawn(say(*client, up, true));
  until([&] { return at_server.ended; });
  EXPECT_EQ(at_server.got, up);
  EXPECT_FALSE(at_client.ended);
  spawn(say(*server, down, true));
  until([&] { return at_client.ended && outcome; });
  EXPECT_EQ(at_client.got, down);
  EXPECT_TRUE(outcome->has_value());
  EXPECT_EQ(from_a.bytes, up.size());
  EXPECT_EQ(from_b.bytes, down.size());
}

TEST_P(RelayTest, AResetIsPassedOnAsAResetAndNeverAsAnEnd) {
  start();
  auto& at_client = sink();
  spawn(collect(*client, at_client));
  spawn(say(*server, pattern(1000), false));
  until([&] { return at_client.got.size() == 1000; });
  server->abort({Code::reset, "test"});
  until([&] { return at_client.error.has_value() && outcome; });
  EXPECT_EQ(at_client.error->code, Code::reset);
  EXPECT_FALSE(outcome->has_value());
}

TEST_P(RelayTest, AResetThatOurOwnWriteMeetsIsStillNoEnd) {
  start();
  auto& at_client = sink();
  spawn(collect(*client, at_client));
  spawn(say(*server, pattern(500), false));
  until([&] { return at_client.got.size() == 500; });
  // Both events wait for the relay in one round: bytes to pass on, and the reset that its write will meet first.
  Bytes more(10, 1);
  ASSERT_EQ(client->write_some(more).state, Io::State::moved);
  server->abort({Code::reset, "test"});
  until([&] { return (at_client.error || at_client.ended) && outcome; });
  EXPECT_FALSE(at_client.ended) << "half of an answer looks complete";
}

TEST_P(RelayTest, ASocketThatWasResetStaysDeafForWhoeverHoldsACopy) {
  start();
  const Fd copy(::dup(a->fd()));
  a->abort({Code::revoked, "test"});
  if (::listen(copy.get(), 8) == 0) {
    const auto at = local_address(copy.get());
    sockaddr_storage storage{};
    const auto length = to_sockaddr({*IpAddress::parse("127.0.0.1"), at.port}, storage);
    const Fd visitor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ::connect(visitor.get(), reinterpret_cast<sockaddr*>(&storage), length);
    pollfd arrival{copy.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&arrival, 1, 300), 0) << "a connection arrived on a socket that was cut";
  }
}

TEST_P(RelayTest, ACutIsAnErrorAtBothPeers) {
  start();
  auto& at_client = sink();
  auto& at_server = sink();
  spawn(collect(*client, at_client));
  spawn(collect(*server, at_server));
  spawn(say(*client, pattern(100), false));
  until([&] { return at_server.got.size() == 100; });
  a->abort({Code::revoked, "consent withdrawn"});
  until([&] { return at_client.error && at_server.error && outcome; });
  EXPECT_EQ(at_client.error->code, Code::reset);
  EXPECT_EQ(at_server.error->code, Code::reset);
  EXPECT_EQ(outcome->error().code, Code::revoked);
}

TEST_P(RelayTest, AServerThatAnswersAndGoesStillDeliversItsAnswer) {
  start();
  auto& at_client = sink();
  const auto answer = pattern(2000);
  spawn(collect(*client, at_client));
  spawn(say(*server, answer, true));
  until([&] { return at_client.ended; });
  server.reset();  // closed with unread data to come: the client's next bytes meet a reset
  spawn(say(*client, pattern(10), false));
  until([&] { return from_a.bytes == 10; });
  EXPECT_EQ(at_client.got, answer);
  EXPECT_FALSE(at_client.error);
}

TEST_P(RelayTest, AStalledReceiverBoundsWhatTheRelayTakes) {
  start();
  spawn(say(*client, pattern(64'000'000), true));
  for (int i = 0; i < 200; ++i) loop->run_once(std::chrono::milliseconds(1));
  const auto taken = from_a.bytes;
  for (int i = 0; i < 50; ++i) loop->run_once(std::chrono::milliseconds(1));
  EXPECT_EQ(from_a.bytes, taken) << "the relay went on reading without a receiver";
  EXPECT_LT(taken, 32'000'000u);
  auto& at_server = sink();
  spawn(collect(*server, at_server));
  until([&] { return at_server.ended; });
  EXPECT_EQ(at_server.got.size(), 64'000'000u);
}

TEST_P(RelayTest, AnIdleFlowIsCutWithItsReason) {
  start({1, 1});
  auto& at_client = sink();
  spawn(collect(*client, at_client));
  until([&] { return outcome.has_value(); });
  EXPECT_EQ(outcome->error().code, Code::timeout);
  until([&] { return at_client.error.has_value(); });
}

struct AtMost : PumpGate {
  std::uint64_t bytes;
  explicit AtMost(std::uint64_t limit) : bytes(limit) {}
  Result<> before_bytes(const Carried& carried, std::size_t more) override {
    if (carried.bytes + more > bytes) return fail(Code::limit, "more than the route allows");
    return {};
  }
};

TEST_P(RelayTest, AGateRefusesBytesBeforeTheyArePassedOn) {
  AtMost gate(1000);
  start({60, 60}, &gate);
  auto& at_server = sink();
  spawn(collect(*server, at_server));
  spawn(say(*client, pattern(900), false));
  until([&] { return at_server.got.size() == 900; });
  spawn(say(*client, pattern(101), false));
  until([&] { return at_server.error.has_value() && outcome; });
  EXPECT_EQ(at_server.got.size(), 900u);
  EXPECT_EQ(outcome->error().code, Code::limit);
}

TEST_P(RelayTest, SmallMessagesBetweenLargeOnesKeepTheirOrder) {
  start();
  const auto large = pattern(2'000'000);
  Bytes wanted;
  auto& at_server = sink();
  spawn(collect(*server, at_server));
  for (int round = 0; round < 4; ++round) {
    for (const std::size_t size : {large.size(), std::size_t{1}, std::size_t{20'000}, std::size_t{300}}) {
      const Bytes part(large.begin(), large.begin() + static_cast<std::ptrdiff_t>(size));
      wanted.insert(wanted.end(), part.begin(), part.end());
      spawn(say(*client, part, false));
      until([&] { return at_server.got.size() == wanted.size(); });
    }
  }
  EXPECT_EQ(at_server.got, wanted);
  EXPECT_EQ(from_a.bytes, wanted.size());
}

TEST_P(RelayTest, WithoutAPipeToSpareBytesStillPass) {
  std::vector<std::unique_ptr<Pipe>> taken;
  while (auto pipe = loop->pipes().take()) taken.push_back(std::move(pipe));
  EXPECT_EQ(taken.size(), limits::splice_pipes);
  start();
  const auto up = pattern(3'000'000);
  auto& at_server = sink();
  spawn(collect(*server, at_server));
  spawn(say(*client, up, true));
  until([&] { return at_server.ended; });
  EXPECT_EQ(at_server.got, up);
}

Task<> say_until_cut(Stream& to, Bytes bytes) { static_cast<void>(co_await write_all(to, bytes)); }

TEST_P(RelayTest, APipeWithBytesOfACutFlowIsNeverUsedAgain) {
  start();
  spawn(say_until_cut(*client, pattern(64'000'000)));
  for (int i = 0; i < 200; ++i) loop->run_once(std::chrono::milliseconds(1));
  for (auto* stream : {&client, &a, &b}) (*stream)->abort({Code::revoked, "test"});
  until([&] { return outcome.has_value(); });
  std::vector<std::unique_ptr<Pipe>> all;
  while (auto pipe = loop->pipes().take()) {
    std::uint8_t byte = 0;
    EXPECT_EQ(::read(pipe->read_end(), &byte, 1), -1) << "bytes of one flow would reach another";
    all.push_back(std::move(pipe));
  }
  EXPECT_EQ(all.size(), limits::splice_pipes) << "a pipe was lost";
}

/// Programs read past a byte that is marked urgent; splice() stops at it, and a read ends short before it.
TEST_P(RelayTest, AnUrgentByteNeitherStopsNorEndsWhatFollowsIt) {
  std::tie(client, a) = tcp_pair();
  std::tie(b, server) = tcp_pair();
  const auto bulk = pattern(600'000);
  const Bytes urgent(1, '!');
  auto& at_server = sink();
  spawn(collect(*server, at_server));
  // All of it waits for the relay before it begins, so that no further event tells of the bytes behind the mark.
  for (const ByteSpan part : {ByteSpan(bulk).first(30'000), ByteSpan(urgent), ByteSpan(bulk).subspan(30'000, 10'000)}) {
    const auto flags = MSG_NOSIGNAL | (part.size() == 1 ? MSG_OOB : 0);
    ASSERT_EQ(::send(client->fd(), part.data(), part.size(), flags), static_cast<ssize_t>(part.size()));
  }
  for (int i = 0; i < 5; ++i) loop->run_once(std::chrono::milliseconds(1));
  spawn(run(*this, {60, 60}, nullptr));
  until([&] { return at_server.got.size() == 40'000; });
  // Once more within a bulk transfer, with the end right behind.
  spawn(say(*client, Bytes(bulk.begin() + 40'000, bulk.end() - 1'000), false));
  until([&] { return at_server.got.size() == bulk.size() - 1'000; });
  ASSERT_EQ(::send(client->fd(), urgent.data(), urgent.size(), MSG_OOB), 1);
  spawn(say(*client, Bytes(bulk.end() - 1'000, bulk.end()), true));
  until([&] { return at_server.ended; });
  EXPECT_EQ(at_server.got, bulk) << "bytes are missing, and the end looks complete";
}

INSTANTIATE_TEST_SUITE_P(Bytes, RelayTest, ::testing::Values(Splice::off, Splice::bulk, Splice::on), [](const auto& mode) {
  return mode.param == Splice::off ? "ThroughUserSpace" : mode.param == Splice::on ? "ByPipe" : "ByPipeInBulk";
});

}  // namespace
}  // namespace epif::net
