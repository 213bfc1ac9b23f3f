#include "admission/token_window.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace epif::admission {
namespace {

TEST(TokenWindow, SpendsEachTokenOnceAndMovesPastTheLowest) {
  TokenWindow window(100, 8);
  EXPECT_TRUE(window.spend(101));
  EXPECT_FALSE(window.spend(101)) << "twice";
  EXPECT_EQ(window.base(), 100u) << "the lowest is not spent yet";
  EXPECT_TRUE(window.spend(100));
  EXPECT_EQ(window.base(), 102u);
  EXPECT_FALSE(window.spend(100)) << "below the window";
  EXPECT_FALSE(window.spend(110)) << "above the window";
  EXPECT_TRUE(window.spend(102));
  EXPECT_EQ(window.size(), 8u);
}

TEST(TokenWindow, AHighTokenMovesItAndALostLowOneDoesNotHoldItUp) {
  TokenWindow window(0, 8);
  EXPECT_TRUE(window.spend(7));
  EXPECT_EQ(window.base(), 2u) << "two tokens above 7 are free again";
  EXPECT_FALSE(window.spend(1)) << "what left the window is gone, spent or not";
  EXPECT_TRUE(window.spend(9));
  EXPECT_FALSE(window.spend(7));
}

TEST(TokenWindow, WrapsAroundTwoToThe32) {
  TokenWindow window(0xfffffffe, 4);
  EXPECT_TRUE(window.spend(0xffffffff));
  EXPECT_TRUE(window.spend(0));
  EXPECT_TRUE(window.spend(0xfffffffe));
  EXPECT_EQ(window.base(), 1u);
  EXPECT_FALSE(window.spend(0xffffffff));
}

TEST(TokenWindow, OfOneTokenMovesWithEachSpending) {
  TokenWindow window(5, 1);
  for (std::uint32_t token = 5; token < 9; ++token) EXPECT_TRUE(window.spend(token));
  EXPECT_EQ(window.base(), 9u);
}

TEST(TokenWindow, NeverAcceptsATokenTwiceWhateverTheOrder) {
  std::mt19937 random(7);
  for (std::uint32_t size = 1; size < 70; ++size) {
    TokenWindow window(0xffffff00, size);
    std::set<std::uint32_t> spent;
    auto base = window.base();
    for (int i = 0; i < 2'000; ++i) {
      const auto token = window.base() + random() % (size + 4) - 2;
      if (window.spend(token)) {
        ASSERT_TRUE(spent.insert(token).second) << token;
      }
      ASSERT_LE(window.base() - base, size) << "the base only grows";
      base = window.base();
    }
  }
}

TEST(TokenWindow, GoesOnFromWhatIsSpent) {
  std::mt19937 random(7);
  for (const std::uint32_t size : {1U, 3U, 8U, 100U}) {
    TokenWindow window(0xfffffff0, size);
    for (int i = 0; i < 300; ++i) {
      const auto token = window.base() + static_cast<std::uint32_t>(random()) % (size + 2) - 1;
      TokenWindow copy(window.base(), window.spent());
      ASSERT_EQ(copy.spend(token), window.spend(token));
      ASSERT_EQ(copy.base(), window.base());
      ASSERT_EQ(copy.spent(), window.spent());
    }
  }
}

}  // namespace
}  // namespace epif::admission
