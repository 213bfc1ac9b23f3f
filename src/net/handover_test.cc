#include "net/handover.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

namespace epif::net {
namespace {

using testing::ElementsAre;

/// Both processes on one loop.
struct HandoverTest : testing::Test {
  std::string folder = [] {
    char name[] = "/tmp/epif-handover-XXXXXX";
    return std::string(::mkdtemp(name));
  }();
  std::string path = folder + "/handover";
  std::unique_ptr<Loop> loop = Loop::make().value();
  std::vector<std::string> calls;

  std::unique_ptr<Handover> offer() {
    std::vector<Handed> things;
    things.push_back({"a file", Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC))});
    things.push_back({"a word", Fd()});
    Handover::Calls wishes;
    wishes.asked = [this] { calls.emplace_back("asked"); };
    wishes.abandoned = [this] { calls.emplace_back("abandoned"); };
    wishes.serving = [this](std::string_view words) { calls.push_back("serving " + std::string(words)); };
    wishes.stopped = [this] { calls.emplace_back("stopped"); };
    wishes.said = [this](std::string_view words) { calls.push_back("said " + std::string(words)); };
    wishes.more = [] {
      std::vector<Handed> more;
      more.push_back({"asked for late", Fd()});
      return more;
    };
    return std::make_unique<Handover>(*loop, listen_unix(path, SOCK_SEQPACKET).value(), path, std::move(things), std::move(wishes));
  }
  void until(std::size_t count) {
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    while (calls.size() < count && Clock::now() < deadline) loop->run_once(std::chrono::milliseconds(10));
  }
  ~HandoverTest() override { std::filesystem::remove_all(folder); }
};

TEST_F(HandoverTest, ThingsChangeHandsAndASuccessorThatStopsMeansItsPredecessor) {
  const auto old = offer();
  auto got = take_over(*loop, path);
  ASSERT_TRUE(got) << got.error().text();
  ASSERT_EQ(got->things.size(), 3u);
  EXPECT_EQ(got->things[0].what, "a file");
  struct stat here {};
  struct stat there {};
  ASSERT_EQ(::fstat(got->things[0].descriptor.get(), &here), 0);
  ASSERT_EQ(::stat("/dev/null", &there), 0);
  EXPECT_EQ(here.st_rdev, there.st_rdev);
  EXPECT_EQ(got->things[1].what, "a word");
  EXPECT_FALSE(got->things[1].descriptor);
  EXPECT_EQ(got->things[2].what, "asked for late");
  ASSERT_TRUE(announce_and_wait(*loop, *got->predecessor, "60"));
  old->close();
  say(*got->predecessor, "something");
  dismiss(*got->predecessor);
  until(4);
  EXPECT_THAT(calls, ElementsAre("asked", "serving 60", "said something", "stopped"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(HandoverTest, ASuccessorThatGoesAwayBeforeItServesIsToldOfAndTheNextOneIsServed) {
  const auto old = offer();
  ASSERT_TRUE(take_over(*loop, path));
  until(2);
  EXPECT_THAT(calls, ElementsAre("asked", "abandoned"));
  auto next = take_over(*loop, path);
  ASSERT_TRUE(next);
  EXPECT_TRUE(announce_and_wait(*loop, *next->predecessor, ""));
  EXPECT_THAT(calls, ElementsAre("asked", "abandoned", "asked", "serving "));
}

TEST_F(HandoverTest, ASuccessorThatFailsAfterItTookTheNameLeavesItToThePredecessor) {
  const auto old = offer();
  {
    auto got = take_over(*loop, path);
    ASSERT_TRUE(got);
    ASSERT_TRUE(succeed_unix(path, SOCK_SEQPACKET));
  }
  until(2);
  EXPECT_THAT(calls, ElementsAre("asked", "abandoned"));
  auto next = take_over(*loop, path);
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_TRUE(announce_and_wait(*loop, *next->predecessor, ""));
}

TEST_F(HandoverTest, WhileOneTakesOverAnotherIsTurnedAwayAndChangesNothing) {
  const auto old = offer();
  auto first = take_over(*loop, path);
  ASSERT_TRUE(first);
  const auto second = take_over(*loop, path);
  ASSERT_FALSE(second) << "two processes would put their rules into one place";
  EXPECT_EQ(second.error().code, Code::conflict);
  EXPECT_TRUE(announce_and_wait(*loop, *first->predecessor, ""));
  EXPECT_THAT(calls, ElementsAre("asked", "serving "));
}

TEST_F(HandoverTest, WithoutAnybodyThereItIsNotFound) {
  const auto got = take_over(*loop, path);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::not_found);
}

TEST_F(HandoverTest, ASuccessorsSocketTakesTheNameAndOutlivesItsPredecessors) {
  auto old = offer();
  const auto fresh = succeed_unix(path, SOCK_SEQPACKET);
  ASSERT_TRUE(fresh);
  old.reset();
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_TRUE(SeqPacket::connect(*loop, path));
}

}  // namespace
}  // namespace epif::net
