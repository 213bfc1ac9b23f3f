#include "onward/upstream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "model/routing.h"
#include "net/tcp.h"

namespace epif::onward {
namespace {

using std::chrono::milliseconds;

const IpAddress dead = *IpAddress::parse("127.0.0.2");
const IpAddress live = *IpAddress::parse("127.0.0.1");

/// A port that answers at one address, and at another drops each SYN: its queue is full and nobody accepts.
class HalfDead {
 public:
  HalfDead() : silent_(listener({dead, 0}, 0)), port_(net::local_address(silent_.get()).port), talking_(listener({live, port_}, 16)) {
    for (auto& fill : fill_) {
      fill = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      sockaddr_storage storage{};
      const auto length = net::to_sockaddr({dead, port_}, storage);
      ::connect(fill.get(), reinterpret_cast<sockaddr*>(&storage), length);
    }
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  static Fd listener(const SocketAddress& at, int backlog) {
    net::ListenOptions options;
    options.backlog = backlog;
    auto made = net::listen(at, options);
    assert(made);
    return std::move(*made);
  }
  Fd silent_;
  std::uint16_t port_;
  Fd talking_;
  std::array<Fd, 4> fill_;
};

net::Task<void> try_all(net::Loop& loop, std::uint16_t port, net::ConnectOptions options, Attempts attempts, milliseconds patience,
                        std::optional<Result<Upstream>>& outcome) {
  std::vector<IpAddress> addresses;
  addresses.push_back(dead);
  addresses.push_back(live);
  auto made = co_await connect_any(loop, std::move(addresses), port, options, as_bytes("x"), net::Clock::now() + patience, attempts);
  outcome = std::move(made);
  loop.stop();
}

Result<Upstream> connected(net::Loop& loop, std::uint16_t port, Attempts attempts, milliseconds patience, net::ConnectOptions options = {}) {
  std::optional<Result<Upstream>> outcome;
  net::spawn(try_all(loop, port, options, attempts, patience, outcome));
  loop.run();
  return std::move(*outcome);
}

/// Attempts that lost go on until their deadline, and end before the loop does.
struct AllEnded {
  net::Loop& loop;
  ~AllEnded() {
    while (loop.timers() > 0) loop.run_once(milliseconds(20));
  }
};

TEST(ConnectAny, ADeadAddressCostsAQuarterOfASecondInTheRace) {
  const HalfDead server;
  auto loop = *net::Loop::make();
  const AllEnded all{*loop};
  const auto began = net::Clock::now();
  const auto made = connected(*loop, server.port(), Attempts::race, milliseconds(1'500));
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(made->raced);
  EXPECT_EQ(net::peer_address(made->stream->fd()).ip, live);
  EXPECT_GE(net::Clock::now() - began, milliseconds(250));
  EXPECT_LT(net::Clock::now() - began, milliseconds(1'500));
}

TEST(ConnectAny, OneByOneTheNextAddressWaitsForTheFailureOfTheOneBefore) {
  const HalfDead server;
  auto loop = *net::Loop::make();
  const AllEnded all{*loop};
  const auto began = net::Clock::now();
  const auto made = connected(*loop, server.port(), Attempts::one_by_one, milliseconds(600));
  EXPECT_GE(net::Clock::now() - began, milliseconds(600));
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_FALSE(made->raced);
}

TEST(ConnectAny, ARefusedAddressGivesWayAtOnceAlsoToOneWithoutDataInItsSyn) {
  net::ListenOptions options;
  auto listener = net::listen({live, 0}, options);
  ASSERT_TRUE(listener);
  const auto port = net::local_address(listener->get()).port;
  auto loop = *net::Loop::make();
  for (const bool fast_open : {false, true}) {
    net::ConnectOptions wishes;
    wishes.fast_open = fast_open;
    const auto made = connected(*loop, port, Attempts::one_by_one, milliseconds(5'000), wishes);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_FALSE(made->raced || made->fast_open);
    EXPECT_EQ(made->sent, 0u) << "what the refused address was sent was sent to nobody";
  }
}

}  // namespace
}  // namespace epif::onward
