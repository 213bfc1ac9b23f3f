#include "base/spelling.h"

#include <gtest/gtest.h>

namespace epif {
namespace {

TEST(Spelling, OneSlipOfTheFingerIsNearTwoAreNot) {
  for (const auto* word : {"paln", "pla", "plan", "plann", "blan", "lan"}) EXPECT_TRUE(is_near(word, "plan")) << word;
  for (const auto* word : {"", "pl", "palm", "proxy", "planner", "nalp"}) EXPECT_FALSE(is_near(word, "plan")) << word;
  EXPECT_FALSE(is_near("a1", "a2"));
}

TEST(Spelling, TheNearestWordIsNearOrHasAnUnmistakableBeginning) {
  const std::vector<std::string_view> commands{"plan", "policy", "proxy", "orchestrator", "--take-over", "--threads"};
  EXPECT_EQ(near_word("paln", commands), "plan");
  EXPECT_EQ(near_word("orch", commands), "orchestrator");
  EXPECT_EQ(near_word("--t", commands), "") << "two begin so";
  EXPECT_EQ(near_word("--thread", commands), "--threads");
  EXPECT_EQ(near_word("xyzzy", commands), "");
}

}  // namespace
}  // namespace epif
