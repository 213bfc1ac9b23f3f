#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/relay.h"

namespace epif::net {
namespace {

/// A flow between two pairs of Unix sockets; the far ends are plain descriptors.
struct Flow {
  std::unique_ptr<Loop> loop = *Loop::make();
  std::pair<Fd, Fd> towards_client = *stream_pair();
  std::pair<Fd, Fd> towards_server = *stream_pair();
  SocketStream client{*loop, std::move(towards_client.first)};
  SocketStream server{*loop, std::move(towards_server.first)};
  Carried up{}, down{};
  std::optional<Result<>> outcome{};

  static Task<void> carry(Flow& flow, RelayTimes times) {
    auto result = co_await relay({flow.client}, {flow.server}, flow.up, flow.down, times);
    flow.outcome = std::move(result);
  }
};

TEST(RelayTimes, AHalfClosedFlowEndsByItsOwnTimeAndDoesNotStayForThatOfIdleOnes) {
  Flow flow;
  spawn(Flow::carry(flow, {3'600, 1}));
  ASSERT_EQ(::shutdown(flow.towards_client.second.get(), SHUT_WR), 0);
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (!flow.outcome && Clock::now() < deadline) flow.loop->run_once(std::chrono::milliseconds(20));
  ASSERT_TRUE(flow.outcome);
  EXPECT_EQ(flow.outcome->error().code, Code::timeout);
}

}  // namespace
}  // namespace epif::net
