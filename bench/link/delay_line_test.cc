#include "delay_line.h"

#include <gtest/gtest.h>

namespace epif::bench {
namespace {

using std::chrono::milliseconds;

const Clock::time_point start{};

Bytes frame(std::size_t bytes, std::uint8_t mark) { return Bytes(bytes, mark); }

TEST(DelayLine, GivesAFrameAtItsTimeAndNotBefore) {
  DelayLine line({milliseconds(5), 0, 0, 1000}, 1);
  line.put(frame(100, 7), start);
  EXPECT_EQ(line.due(), start + milliseconds(5));
  EXPECT_FALSE(line.take(start + milliseconds(4)));
  const auto out = line.take(start + milliseconds(5));
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, frame(100, 7));
  EXPECT_FALSE(line.due());
}

TEST(DelayLine, KeepsTheOrder) {
  DelayLine line({milliseconds(1), 0, 0, 1000}, 1);
  for (std::uint8_t i = 0; i < 100; ++i) line.put(frame(10, i), start);
  for (std::uint8_t i = 0; i < 100; ++i) EXPECT_EQ(line.take(start + milliseconds(1))->front(), i);
}

TEST(DelayLine, SendsNoFasterThanItsRate) {
  DelayLine line({milliseconds(0), 0, 8'000'000, 1000}, 1);  // one byte a microsecond
  for (int i = 0; i < 10; ++i) line.put(frame(1000, 0), start);
  for (int i = 1; i <= 10; ++i) {
    EXPECT_FALSE(line.take(start + milliseconds(i) - std::chrono::microseconds(1)));
    EXPECT_TRUE(line.take(start + milliseconds(i)));
  }
}

TEST(DelayLine, LosesWhatItsQueueCannotHold) {
  DelayLine line({milliseconds(0), 0, 8'000'000, 10}, 1);
  for (int i = 0; i < 50; ++i) line.put(frame(1000, 0), start);
  EXPECT_EQ(line.lost(), 39u);  // ten wait, one is being sent
}

TEST(DelayLine, LosesItsShare) {
  DelayLine line({milliseconds(0), 0.1, 0, 1000}, 42);
  for (int i = 0; i < 10'000; ++i) line.put(frame(1, 0), start);
  EXPECT_NEAR(static_cast<double>(line.lost()), 1000, 100);
}

}  // namespace
}  // namespace epif::bench
