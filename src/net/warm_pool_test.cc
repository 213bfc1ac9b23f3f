#include "net/warm_pool.h"

#include <gtest/gtest.h>

namespace epif::net {
namespace {

using std::chrono::milliseconds;

/// A listener that keeps what it accepts, and a pool that connects to it.
class WarmPoolTest : public testing::Test {
 protected:
  WarmPoolTest() {
    auto listener = listen({*IpAddress::parse("127.0.0.1"), 0}, {});
    acceptor_ = std::make_unique<Acceptor>(*loop_, std::move(*listener),
                                           [this](Fd fd, SocketAddress) { accepted_.push_back(std::move(fd)); });
  }
  WarmPool::Settings settings(std::size_t keep) {
    WarmPool::Settings made;
    made.to = acceptor_->address();
    made.keep = keep;
    return made;
  }
  template <class Condition>
  void run_until(Condition condition) {
    const auto deadline = Clock::now() + std::chrono::seconds(5);
    while (!condition() && Clock::now() < deadline) loop_->run_once(milliseconds(10));
    ASSERT_TRUE(condition());
  }
  static Task<void> take_one(WarmPool& pool, std::optional<Result<WarmPool::Taken>>& into) {
    auto taken = co_await pool.take({}, Clock::now() + std::chrono::seconds(5));
    into.emplace(std::move(taken));
  }
  Result<WarmPool::Taken> take(WarmPool& pool) {
    std::optional<Result<WarmPool::Taken>> taken;
    spawn(take_one(pool, taken));
    run_until([&] { return taken.has_value(); });
    return std::move(*taken);
  }

  std::unique_ptr<Loop> loop_ = *Loop::make();
  std::vector<Fd> accepted_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(WarmPoolTest, FillsAheadAndServesFromWhatIsOpen) {
  WarmPool pool(*loop_, settings(3));
  run_until([&] { return pool.idle() == 3 && accepted_.size() == 3; });
  auto taken = take(pool);
  ASSERT_TRUE(taken);
  EXPECT_TRUE(taken->warm);
  EXPECT_EQ(pool.hits(), 1u);
  run_until([&] { return pool.idle() == 3; });  // refilled
}

TEST_F(WarmPoolTest, NeverHandsOutAConnectionThatTheProxyEnded) {
  WarmPool pool(*loop_, settings(2));
  run_until([&] { return pool.idle() == 2 && accepted_.size() == 2; });
  accepted_.clear();
  loop_->run_once(milliseconds(20));
  auto taken = take(pool);
  ASSERT_TRUE(taken);
  EXPECT_FALSE(taken->warm);
  EXPECT_EQ(pool.misses(), 1u);
}

TEST_F(WarmPoolTest, WithoutKeepingItConnectsWhenAsked) {
  WarmPool pool(*loop_, settings(0));
  auto taken = take(pool);
  ASSERT_TRUE(taken);
  EXPECT_FALSE(taken->warm);
  EXPECT_EQ(pool.idle(), 0u);
}

TEST_F(WarmPoolTest, ReplacesWhatWasIdleTooLong) {
  auto short_lived = settings(1);
  short_lived.idle = milliseconds(40);
  WarmPool pool(*loop_, short_lived);
  run_until([&] { return accepted_.size() >= 3; });
  EXPECT_LE(pool.idle(), 1u);
}

TEST_F(WarmPoolTest, AnUnreachableProxyIsAnErrorAndNoSpin) {
  auto nowhere = settings(1);
  acceptor_.reset();
  loop_->run_once(milliseconds(10));  // the accepting task lets go of the listener
  WarmPool pool(*loop_, nowhere);
  const auto taken = take(pool);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Code::refused);
}

}  // namespace
}  // namespace epif::net
