#include "redirect/excess.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace epif::redirect {
namespace {

constexpr std::chrono::milliseconds pause{limits::excess_told_ms};

TEST(Excess, TheFirstIsToldAndAgainAfterAPauseHoweverManyThereWere) {
  Excess excess;
  const auto begin = net::Clock::now();
  EXPECT_EQ(excess.tell(false, begin), 0u);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(excess.tell(false, begin + pause - std::chrono::milliseconds(1)));
  EXPECT_EQ(excess.tell(false, begin + pause), 5u) << "and how many were not told";
  EXPECT_FALSE(excess.tell(false, begin + pause));
  EXPECT_EQ(excess.tell(false, begin + 10 * pause), 1u);
}

TEST(Excess, AFloodOfForwardedOnesHidesNoneOfTheNodesOwn) {
  Excess excess;
  const auto begin = net::Clock::now();
  for (int i = 0; i < 2'000; ++i) static_cast<void>(excess.tell(false, begin));
  EXPECT_EQ(excess.tell(true, begin), 0u);
  EXPECT_FALSE(excess.tell(true, begin));
}

}  // namespace
}  // namespace epif::redirect
