#include "net/timers.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

namespace epif::net {
namespace {

TimePoint at(int ms) { return TimePoint{} + std::chrono::milliseconds(ms); }

TEST(Timers, ComeInOrderOfTimeAndOfWhoWasFirst) {
  Timers timers;
  std::vector<int> done;
  for (const int ms : {5, 1, 3, 1, 5}) {
    static_cast<void>(timers.add(at(ms), [&done, ms, number = static_cast<int>(timers.size())] { done.push_back(ms * 10 + number); }));
  }
  while (!timers.empty()) timers.take_first()();
  EXPECT_EQ(done, (std::vector{11, 13, 32, 50, 54}));
}

TEST(Timers, ThatEndedAreNoOthers) {
  Timers timers;
  const auto first = timers.add(at(1), [] {});
  static_cast<void>(timers.take_first());
  bool done = false;
  const auto second = timers.add(at(2), [&] { done = true; });  // in the place of the first
  EXPECT_EQ(second.slot, first.slot);
  timers.cancel(first);
  ASSERT_EQ(timers.size(), 1u);
  timers.take_first()();
  EXPECT_TRUE(done);
  timers.cancel(second);
  timers.cancel({});
  EXPECT_TRUE(timers.empty());
}

TEST(Timers, MayBeCancelledByTheEndOfWhatAnotherHolds) {
  Timers timers;
  const auto other = timers.add(at(2), [] {});
  struct Ends {
    Timers& timers;
    Timers::Number other;
    ~Ends() { timers.cancel(other); }
  };
  const auto one = timers.add(at(1), [held = std::make_unique<Ends>(timers, other)] {});
  timers.cancel(one);
  EXPECT_TRUE(timers.empty());
}

TEST(Timers, DoWhatAnOrderedMapDoes) {
  Timers timers;
  std::map<std::pair<TimePoint, std::uint64_t>, Timers::Number> model;
  std::mt19937 random(7);
  std::uint64_t fired = 0;
  for (int i = 0; i < 20'000; ++i) {
    switch (random() % 3) {
      case 0: {
        const auto when = at(static_cast<int>(random() % 500));
        const auto number = timers.add(when, [&fired, order = static_cast<std::uint64_t>(i)] { fired = order; });
        model.emplace(std::pair{when, static_cast<std::uint64_t>(i)}, number);
        break;
      }
      case 1: {
        if (model.empty()) break;
        const auto place = std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
        timers.cancel(place->second);
        model.erase(place);
        break;
      }
      default: {
        if (model.empty()) break;
        ASSERT_EQ(timers.first(), model.begin()->first.first);
        timers.take_first()();
        ASSERT_EQ(fired, model.begin()->first.second);
        model.erase(model.begin());
      }
    }
    ASSERT_EQ(timers.size(), model.size());
  }
}

}  // namespace
}  // namespace epif::net
