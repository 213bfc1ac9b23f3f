#include "association/udp_messages.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "association/stream_queue.h"
#include "base/limits.h"

namespace epif::association {
namespace {

using socks6::UdpErrorCode;

TEST(UdpErrors, IcmpIsToldInTheWordsOfTheDraft) {
  EXPECT_EQ(udp_error_code(false, 3, 0), UdpErrorCode::network_unreachable);
  EXPECT_EQ(udp_error_code(false, 3, 1), UdpErrorCode::host_unreachable);
  EXPECT_EQ(udp_error_code(false, 3, 3), UdpErrorCode::host_unreachable) << "a closed port";
  EXPECT_EQ(udp_error_code(false, 3, 4), std::nullopt) << "too big is told of IPv6 only";
  EXPECT_EQ(udp_error_code(false, 11, 0), UdpErrorCode::ttl_expired);
  EXPECT_EQ(udp_error_code(false, 11, 1), std::nullopt) << "reassembly";
  EXPECT_EQ(udp_error_code(true, 1, 0), UdpErrorCode::network_unreachable);
  EXPECT_EQ(udp_error_code(true, 1, 4), UdpErrorCode::host_unreachable);
  EXPECT_EQ(udp_error_code(true, 2, 0), UdpErrorCode::too_big);
  EXPECT_EQ(udp_error_code(true, 3, 0), UdpErrorCode::ttl_expired);
  EXPECT_EQ(udp_error_code(true, 129, 0), std::nullopt);
}

/// A stream on a loop, and the other end of it.
struct Wire {
  std::unique_ptr<net::Loop> loop = *net::Loop::make();
  std::pair<Fd, Fd> ends = std::move(*net::stream_pair());
  net::SocketStream stream{*loop, std::move(ends.first)};

  std::size_t read_all() {
    Bytes into(1 << 20);
    std::size_t all = 0;
    for (;;) {
      loop->run_once(std::chrono::milliseconds(0));
      const auto got = ::recv(ends.second.get(), into.data(), into.size(), MSG_DONTWAIT);
      if (got <= 0) return all;
      all += static_cast<std::size_t>(got);
    }
  }
};

TEST(StreamQueue, HoldsABoundedAmountAndCutsNoMessage) {
  Wire wire;
  QueuedBytes queued;
  StreamQueue queue(wire.stream, queued);
  auto running = queue.run();
  net::spawn(std::move(running));
  const Bytes header(4, 1), payload(1'000, 2);
  std::size_t pushed = 0;
  while (queue.push(header, payload)) {
    ++pushed;
    queue.flush();
  }
  EXPECT_GT(pushed, limits::udp_stream_queue_bytes / 1'004) << "what the socket takes is not held";
  EXPECT_TRUE(queue.blocked());
  EXPECT_GT(queued.bytes(), limits::udp_stream_queue_bytes - 1'004);
  EXPECT_EQ(wire.read_all(), pushed * 1'004);
  EXPECT_FALSE(queue.blocked());
  EXPECT_TRUE(queue.push(header, payload)) << "room again";
  queue.flush();
  EXPECT_EQ(wire.read_all(), 1'004u);
  EXPECT_EQ(queued.bytes(), 0u);
  queue.close();
  wire.loop->run_once(std::chrono::milliseconds(0));
}

TEST(StreamQueue, EndsWithItsStream) {
  Wire wire;
  QueuedBytes queued;
  StreamQueue queue(wire.stream, queued);
  net::spawn(queue.run());
  const Bytes payload(60'000, 2);
  while (queue.push({}, payload)) queue.flush();
  wire.stream.abort({Code::reset, "gone"});
  wire.loop->run_once(std::chrono::milliseconds(0));
  wire.loop->run_once(std::chrono::milliseconds(0));
  EXPECT_FALSE(queue.push({}, payload));
  EXPECT_EQ(queued.bytes(), 0u);
}

TEST(UdpMessages, AreHandedOnWholeHoweverTheyComeAndABreachEndsThem) {
  Wire wire;
  const auto init = from_hex("060300161122334455667788" "01000035c0000201" "6869");
  bool over = false;
  unsigned messages = 0;
  std::optional<Result<>> outcome;
  struct Reader {
    static net::Task<void> run(net::Stream& stream, Bytes early, bool& over, unsigned& messages, std::optional<Result<>>& outcome) {
      ByteSpan viewed;
      std::function<Result<>(const socks6::UdpMessage&)> on_message = [&messages, &viewed](const auto& message) -> Result<> {
        ++messages;
        viewed = message.payload;
        return {};
      };
      std::function<void()> on_batch = [&viewed] {
        const auto text = as_text(std::exchange(viewed, {}));
        EXPECT_TRUE(text.empty() || text == "hi") << "views last until the batch is over";
      };
      auto ended = co_await read_udp_messages(stream, std::move(early), over, std::move(on_message), std::move(on_batch));
      outcome = std::move(ended);
    }
  };
  net::spawn(Reader::run(wire.stream, Bytes(init.begin(), init.begin() + 5), over, messages, outcome));
  for (std::size_t at = 5; at < init.size(); ++at) {
    EXPECT_EQ(messages, 0u);
    ASSERT_EQ(::send(wire.ends.second.get(), &init[at], 1, 0), 1);
    wire.loop->run_once(std::chrono::milliseconds(0));
  }
  EXPECT_EQ(messages, 1u);
  EXPECT_FALSE(outcome);
  ASSERT_EQ(::send(wire.ends.second.get(), "\x05", 1, 0), 1);
  wire.loop->run_once(std::chrono::milliseconds(0));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->error().code, Code::protocol);
}

}  // namespace
}  // namespace epif::association
