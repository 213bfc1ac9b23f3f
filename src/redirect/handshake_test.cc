#include "redirect/handshake.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "socks/socks6.h"

namespace epif::redirect {
namespace {

/// Our end of a socket pair with the other end as the proxy, which this test plays by hand.
class HandshakeTest : public testing::Test {
 protected:
  HandshakeTest() {
    auto pair = net::stream_pair();
    ours_ = std::make_unique<net::SocketStream>(*loop_, std::move(pair->first));
    proxy_ = std::move(pair->second);
  }
  void say(const Bytes& bytes) { ASSERT_EQ(send(proxy_.get(), bytes.data(), bytes.size(), 0), std::ssize(bytes)); }
  net::TimePoint soon() const { return net::Clock::now() + std::chrono::seconds(2); }

  static net::Task<void> keep(net::Task<Result<Bytes>> task, std::optional<Result<Bytes>>& into) {
    auto result = co_await std::move(task);
    into.emplace(std::move(result));
  }
  /// Feeds `bytes` in pieces of `step` and gives the outcome.
  Result<Bytes> replies(const Bytes& bytes, std::size_t step) {
    std::optional<Result<Bytes>> outcome;
    net::spawn(keep(socks6_replies(*ours_, soon()), outcome));
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      const auto end = std::min(bytes.size(), at + step);
      say(Bytes(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(end)));
      loop_->run_once(std::chrono::milliseconds(20));
    }
    if (!outcome) {
      shutdown(proxy_.get(), SHUT_WR);
      while (!outcome) loop_->run_once(std::chrono::milliseconds(20));
    }
    return std::move(*outcome);
  }

  std::unique_ptr<net::Loop> loop_ = *net::Loop::make();
  std::unique_ptr<net::SocketStream> ours_;
  Fd proxy_;
};

const Bytes authenticated{6, 0, 0, 0};
const Bytes success{6, 0, 0, 0, 0x12, 0x34, 0, 1, 192, 0, 2, 1};

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST_F(HandshakeTest, EveryCutOfTheRepliesGivesTheSame) {
  const auto whole = joined({authenticated, success});
  for (std::size_t step = 1; step <= whole.size(); ++step) {
    const auto outcome = replies(whole, step);
    ASSERT_TRUE(outcome) << step;
    EXPECT_TRUE(outcome->empty());
  }
}

TEST_F(HandshakeTest, WhatTheServerSaidAlreadyIsKept) {
  const auto outcome = replies(joined({authenticated, success, {'h', 'i'}}), 1000);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(as_text(*outcome), "hi");
}

TEST_F(HandshakeTest, ARefusalKeepsItsCode) {
  auto refusal = success;
  refusal[1] = 5;
  const auto outcome = replies(joined({authenticated, refusal}), 1000);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::refused);
}

TEST_F(HandshakeTest, WhoIsNotAcceptedIsToldSo) {
  const auto outcome = replies({6, 1, 0, 0}, 1000);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::unauthenticated);
}

TEST_F(HandshakeTest, AnEndBeforeTheAnswerIsAnError) {
  const auto outcome = replies(authenticated, 1000);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::protocol);
}

TEST_F(HandshakeTest, AnAnswerOfAnotherProtocolIsAnError) {
  const auto outcome = replies({'H', 'T', 'T', 'P', '/', '1', '.', '1', ' ', '4'}, 1000);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::protocol);
}

TEST(Socks6Request, CarriesFlowFastOpenUserAndInitialData) {
  const ProxyUser user{"alice", "wonder"};
  const Bytes initial{'G', 'E', 'T'};
  const auto bytes = socks6_request({*Destination::parse("pacs.research:4242"), "flow-1", true, &user}, initial);
  ASSERT_TRUE(bytes);
  const auto decoded = socks6::decode_request(*bytes);
  const auto* done = socks::done<socks6::Request>(decoded);
  ASSERT_NE(done, nullptr);
  EXPECT_EQ(done->consumed + initial.size(), bytes->size());
  EXPECT_EQ(done->message.initial_data_bytes(), initial.size());
  EXPECT_EQ(done->message.options.flow->flow, "flow-1");
  EXPECT_EQ(done->message.options.credentials->user, "alice");
  EXPECT_NE(done->message.options.stack.find<socks6::FastOpen>(), nullptr);
}

}  // namespace
}  // namespace epif::redirect
