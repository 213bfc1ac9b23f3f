#include "net/resolver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>

namespace epif::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Stands for the system's resolver: names that begin with "slow" wait until they are let go, others have an address at once.
class FakeSystem {
 public:
  Resolver::AskSystem ask() {
    return [state = state_](const std::string& name) -> Result<std::vector<IpAddress>> {
      std::unique_lock lock(state->mutex);
      ++state->asked[name];
      state->order.push_back(name);
      if (name.starts_with("slow")) state->news.wait(lock, [&] { return state->open; });
      return std::vector{*IpAddress::parse("192.0.2.1")};
    };
  }
  ~FakeSystem() { let_go(); }
  void let_go() {
    const std::lock_guard lock(state_->mutex);
    state_->open = true;
    state_->news.notify_all();
  }
  int asked(const std::string& name) {
    const std::lock_guard lock(state_->mutex);
    return state_->asked[name];
  }
  std::size_t asked() {
    const std::lock_guard lock(state_->mutex);
    return state_->asked.size();
  }
  std::vector<std::string> order() {
    const std::lock_guard lock(state_->mutex);
    return state_->order;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable news;
    std::map<std::string, int> asked;
    std::vector<std::string> order;
    bool open = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();  // a thread may outlive the test
};

struct Question {
  Question(const char* source, milliseconds patience) : asking(*IpAddress::parse(source), Clock::now() + patience) {}
  Resolver::Asking asking;
  std::optional<Result<std::vector<IpAddress>>> answer{};
};

class ResolverTest : public testing::Test {
 protected:
  static Task<> ask(Resolver& resolver, Loop& loop, std::string name, Question& question) {
    auto found = co_await resolver.resolve(loop, std::move(name), question.asking);
    question.answer = std::move(found);
  }
  Question& put(Resolver& resolver, const std::string& name, const char* source, milliseconds patience = seconds(30)) {
    auto& made = *questions.emplace_back(std::make_unique<Question>(source, patience));
    spawn(ask(resolver, *loop, name, made));
    return made;
  }
  bool wait(const std::function<bool()>& until) {
    const auto last = Clock::now() + seconds(20);
    while (!until() && Clock::now() < last) loop->run_once(milliseconds(5));
    return until();
  }

  std::unique_ptr<Loop> loop = Loop::make().value();
  std::vector<std::unique_ptr<Question>> questions;
};

TEST_F(ResolverTest, OneSourceWithSlowNamesLeavesThreadsToOthers) {
  FakeSystem system;
  Resolver resolver({.threads = 4}, system.ask());
  for (int i = 0; i < 50; ++i) put(resolver, "slow" + std::to_string(i), "10.0.0.1");
  ASSERT_TRUE(wait([&] { return system.asked() == 2; }));
  auto& other = put(resolver, "quick", "10.0.0.2");
  ASSERT_TRUE(wait([&] { return other.answer.has_value(); }));
  EXPECT_TRUE(other.answer->has_value());
  EXPECT_EQ(system.asked(), 3u) << "the slow names of one source took more threads than were free";
  system.let_go();
  ASSERT_TRUE(wait([&] { return std::ranges::all_of(questions, [](const auto& one) { return one->answer.has_value(); }); }));
  EXPECT_EQ(resolver.use().asked, 0u);
}

TEST_F(ResolverTest, SourcesTakeTurns) {
  FakeSystem system;
  Resolver resolver({.threads = 1}, system.ask());
  put(resolver, "slow", "10.0.0.1");
  ASSERT_TRUE(wait([&] { return system.asked() == 1; }));
  for (int i = 0; i < 20; ++i) put(resolver, "quick" + std::to_string(i), "10.0.0.1");
  put(resolver, "other", "10.0.0.2");
  system.let_go();
  ASSERT_TRUE(wait([&] { return std::ranges::all_of(questions, [](const auto& one) { return one->answer.has_value(); }); }));
  const auto order = system.order();
  EXPECT_EQ(order.size(), 22u);
  EXPECT_LE(std::ranges::find(order, "other") - order.begin(), 2) << "who came last waited for all of the first source's";
}

TEST_F(ResolverTest, EqualQuestionsAreAskedOnce) {
  FakeSystem system;
  Resolver resolver({.threads = 8}, system.ask());
  for (const char* source : {"10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"}) put(resolver, "slow", source);
  ASSERT_TRUE(wait([&] { return system.asked("slow") == 1; }));
  auto& late = put(resolver, "slow", "10.0.0.4");
  auto& other = put(resolver, "quick", "10.0.0.1");
  ASSERT_TRUE(wait([&] { return other.answer.has_value(); }));
  system.let_go();
  ASSERT_TRUE(wait([&] { return std::ranges::all_of(questions, [](const auto& one) { return one->answer && one->answer->has_value(); }); }));
  EXPECT_TRUE(late.answer->has_value());
  EXPECT_EQ(system.asked("slow"), 1);
}

TEST_F(ResolverTest, ADeadlineEndsTheQuestionAndFreesItsPlace) {
  FakeSystem system;
  Resolver resolver({.asked_per_source = 1, .threads = 2, .worth = milliseconds(0)}, system.ask());
  auto& slow = put(resolver, "slow", "10.0.0.1", milliseconds(50));
  auto& refused = put(resolver, "quick", "10.0.0.1");
  ASSERT_TRUE(refused.answer && !refused.answer->has_value());
  EXPECT_EQ(refused.answer->error().code, Code::limit);
  ASSERT_TRUE(wait([&] { return slow.answer.has_value(); }));
  EXPECT_EQ(slow.answer->error().code, Code::timeout);
  // The thread is still with the system; the place is free.
  auto& quick = put(resolver, "quick", "10.0.0.2");
  ASSERT_TRUE(wait([&] { return quick.answer.has_value(); }));
  auto& again = put(resolver, "quick2", "10.0.0.1");
  EXPECT_FALSE(again.answer.has_value());
  system.let_go();
  ASSERT_TRUE(wait([&] { return again.answer.has_value(); }));
}

TEST_F(ResolverTest, WhoHasNoTimeLeftTakesNoThread) {
  FakeSystem system;
  Resolver resolver({.threads = 1, .worth = seconds(5)}, system.ask());
  auto& late = put(resolver, "quick1", "10.0.0.1", milliseconds(50));
  auto& other = put(resolver, "quick2", "10.0.0.1");
  ASSERT_TRUE(wait([&] { return late.answer && other.answer; }));
  EXPECT_EQ(late.answer->error().code, Code::timeout);
  EXPECT_TRUE(other.answer->has_value());
  EXPECT_EQ(system.asked("quick1"), 0);
  // One that has time asks for both.
  auto& first = put(resolver, "quick3", "10.0.0.1", milliseconds(50));
  auto& second = put(resolver, "quick3", "10.0.0.2");
  ASSERT_TRUE(wait([&] { return first.answer && second.answer; }));
  EXPECT_TRUE(second.answer->has_value());
}

TEST_F(ResolverTest, CancelFreesThePlaceAtOnceAndWhatWaitedIsNeverAsked) {
  FakeSystem system;
  Resolver resolver({.asked = 2, .threads = 1}, system.ask());
  auto& first = put(resolver, "slow1", "10.0.0.1");
  auto& second = put(resolver, "slow2", "10.0.0.3");
  auto& third = put(resolver, "quick", "10.0.0.2");
  ASSERT_TRUE(third.answer.has_value());
  EXPECT_EQ(third.answer->error().code, Code::limit);
  second.asking.cancel({Code::reset, "its client left"});
  EXPECT_EQ(resolver.use().asked, 1u);
  ASSERT_TRUE(wait([&] { return second.answer.has_value(); }));
  EXPECT_EQ(second.answer->error().code, Code::reset);
  auto& fourth = put(resolver, "quick", "10.0.0.2");
  first.asking.cancel({Code::reset, "its client left"});
  system.let_go();
  ASSERT_TRUE(wait([&] { return fourth.answer.has_value(); }));
  EXPECT_TRUE(fourth.answer->has_value());
  EXPECT_EQ(system.asked("slow2"), 0);
}

TEST_F(ResolverTest, ANewSourceGetsAPlaceHoweverManyAskForAllTheyMay) {
  FakeSystem system;
  Resolver resolver({.asked = 64, .asked_per_source = 16, .threads = 4}, system.ask());
  // Four take all there is, and then forty more ask for as much each.
  for (int source = 1; source <= 44; ++source) {
    const auto at = "10.0.0." + std::to_string(source);
    auto& first = put(resolver, "slow" + at, at.c_str());
    EXPECT_FALSE(first.answer.has_value()) << "source " << source << " got no place";
    for (int i = 0; i < 20; ++i) put(resolver, "slow" + at + "-" + std::to_string(i), at.c_str());
    EXPECT_EQ(resolver.use().asked, std::min(64u, source * 16u));
  }
  // What was given up is known at once, and each source still has one that waits.
  ASSERT_TRUE(wait([&] {
    return std::ranges::count_if(questions, [](const auto& one) { return !one->answer.has_value(); }) == 64;
  }));
  for (std::size_t source = 0; source < 44; ++source) {
    EXPECT_FALSE(questions[source * 21]->answer.has_value()) << "the first question of source " << source + 1 << " was given up";
  }
  for (const auto& one : questions) {
    EXPECT_TRUE(!one->answer || one->answer->error().code == Code::limit);
  }
  auto& more = put(resolver, "slow", "10.0.0.1");
  EXPECT_EQ(more.answer.has_value(), true) << "one that has its part took another's";
  system.let_go();
  ASSERT_TRUE(wait([&] { return std::ranges::all_of(questions, [](const auto& one) { return one->answer.has_value(); }); }));
  EXPECT_EQ(resolver.use().asked, 0u);
}

TEST_F(ResolverTest, WhoGivesWayLosesItsPlaceOnlyToOthers) {
  FakeSystem system;
  Resolver resolver({.asked_per_source = 2, .threads = 8}, system.ask());
  auto& first = put(resolver, "slow1", "10.0.0.1");
  auto& second = put(resolver, "slow2", "10.0.0.1");
  first.asking.give_way();
  EXPECT_EQ(resolver.use().asked, 1u);
  auto& third = put(resolver, "quick", "10.0.0.1");
  ASSERT_TRUE(wait([&] { return first.answer && third.answer; }));
  EXPECT_EQ(first.answer->error().code, Code::limit);
  EXPECT_TRUE(third.answer->has_value());
  second.asking.give_way();
  system.let_go();
  ASSERT_TRUE(wait([&] { return second.answer.has_value(); }));
  EXPECT_TRUE(second.answer->has_value()) << "nobody needed its place";
}

TEST_F(ResolverTest, ThreadsComeWithTheWorkAndGoWithoutIt) {
  FakeSystem system;
  Resolver resolver({.thread_idle = milliseconds(20)}, system.ask());
  EXPECT_EQ(resolver.use().threads, 0u);
  auto& one = put(resolver, "quick", "10.0.0.1");
  ASSERT_TRUE(wait([&] { return one.answer.has_value(); }));
  ASSERT_TRUE(wait([&] { return resolver.use().threads == 0; }));
}

TEST_F(ResolverTest, ItsEndDoesNotWaitForTheSystem) {
  FakeSystem system;
  auto resolver = std::make_unique<Resolver>(Resolver::Limits{}, system.ask());
  auto& slow = put(*resolver, "slow", "10.0.0.1");
  ASSERT_TRUE(wait([&] { return system.asked() == 1; }));
  slow.asking.cancel({Code::reset, "the end"});
  ASSERT_TRUE(wait([&] { return slow.answer.has_value(); }));
  resolver.reset();
  EXPECT_EQ(system.asked("slow"), 1);
}

}  // namespace
}  // namespace epif::net
