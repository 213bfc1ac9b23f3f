#include "net/frame_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "net/task.h"

namespace epif::net {
namespace {

TEST(FramePoolTest, FramesOfAllSizesHoldWhatIsWritten) {
  std::vector<std::pair<unsigned char*, std::size_t>> taken;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t bytes = 1; bytes <= 6000; bytes += 61) {
      auto* memory = static_cast<unsigned char*>(FramePool::take(bytes));
      std::memset(memory, static_cast<int>(bytes % 251), bytes);
      taken.emplace_back(memory, bytes);
    }
    for (const auto& [memory, bytes] : taken) {
      for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(memory[i], bytes % 251) << bytes;
      FramePool::give(memory, bytes);
    }
    taken.clear();
  }
}

TEST(FramePoolTest, WhatAThreadFreesServesItAgainAndAnotherThreadMayFree) {
  auto* first = FramePool::take(1500);
  FramePool::give(first, 1500);
  auto* again = FramePool::take(1490);
  if (FramePool::pools) {
    EXPECT_EQ(again, first);
  }
  std::thread([again] { FramePool::give(again, 1490); }).join();
}

TEST(FramePoolTest, ItKeepsNoMoreThanItsLimit) {
  // More than the limit at once, then all of it freed: what is kept would be found again.
  constexpr std::size_t bytes = 4096;
  constexpr std::size_t many = 4 * limits::frame_pool_bytes / bytes;
  std::vector<void*> taken;
  for (std::size_t i = 0; i < many; ++i) taken.push_back(FramePool::take(bytes));
  for (auto* memory : taken) FramePool::give(memory, bytes);
  EXPECT_LE(FramePool::held(), limits::frame_pool_bytes);
}

Task<int> count_down(int from) {
  if (from == 0) co_return 0;
  const int below = co_await count_down(from - 1);
  co_return below + 1;
}

TEST(FramePoolTest, CoroutinesLiveInIt) {
  int got = 0;
  spawn([](int& out) -> Task<void> { out = co_await count_down(200); }(got));
  EXPECT_EQ(got, 200);
  const auto after_one = FramePool::held();
  spawn([](int& out) -> Task<void> { out = co_await count_down(200); }(got));
  EXPECT_EQ(FramePool::held(), after_one) << "the second took other memory than the first had freed";
}

}  // namespace
}  // namespace epif::net
