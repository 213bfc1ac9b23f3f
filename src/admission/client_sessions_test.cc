#include "admission/client_sessions.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace epif::admission {
namespace {

using std::chrono::seconds;

const SessionOwner ann{"", "ann", *IpAddress::parse("10.0.0.1")};
const SessionOwner node{"umc/modality", "", *IpAddress::parse("10.0.0.2")};
const net::TimePoint start = net::TimePoint{} + seconds(1'000'000);

TEST(ClientSessions, AreFoundByTheirOwnerOnly) {
  ClientSessions sessions({});
  const auto session = sessions.open(ann, start);
  ASSERT_TRUE(session);
  EXPECT_EQ(sessions.find(session->id(), "", ann.source, start), session);
  EXPECT_FALSE(sessions.find(session->id(), "", node.source, start)) << "another address";
  EXPECT_FALSE(sessions.find(session->id(), "umc/modality", ann.source, start)) << "a certificate";
  EXPECT_FALSE(sessions.find(ByteSpan(session->id()).first(12), "", ann.source, start)) << "a part of the id";
  EXPECT_FALSE(sessions.find(from_hex("00000000000000000000000000000000"), "", ann.source, start));
  EXPECT_EQ(sessions.state().invalid, 4u);
}

TEST(ClientSessions, IdsAre128BitsAndDiffer) {
  ClientSessions sessions({});
  std::map<ClientSession::Id, int> seen;
  for (int i = 0; i < 200; ++i) ++seen[sessions.open(node, start)->id()];
  EXPECT_EQ(seen.size(), 200u);
  EXPECT_EQ(seen.begin()->first.size() * 8, 128u);
}

TEST(ClientSessions, EndByTeardownIdlenessAndAge) {
  ClientSessions sessions({.idle = seconds(10), .life = seconds(25)});
  const auto torn = sessions.open(ann, start);
  const SessionOwner bob{"", "bob", ann.source};
  EXPECT_FALSE(sessions.tear_down(torn->id(), bob, start)) << "another user at the same address";
  EXPECT_TRUE(sessions.tear_down(torn->id(), ann, start));
  EXPECT_FALSE(sessions.find(torn->id(), "", ann.source, start));
  EXPECT_FALSE(sessions.tear_down(torn->id(), ann, start));

  const auto session = sessions.open(ann, start);
  EXPECT_TRUE(sessions.find(session->id(), "", ann.source, start + seconds(9)));
  EXPECT_TRUE(sessions.find(session->id(), "", ann.source, start + seconds(18))) << "used meanwhile";
  EXPECT_FALSE(sessions.find(session->id(), "", ann.source, start + seconds(26))) << "too old, although in use";
  const auto idle = sessions.open(ann, start);
  EXPECT_FALSE(sessions.find(idle->id(), "", ann.source, start + seconds(10)));
  EXPECT_EQ(sessions.state().open, 0u);
}

TEST(ClientSessions, OneThatIsUsedWhileItIsGivenIsNoYoungerThanNothing) {
  ClientSessions sessions({.idle = seconds(10), .life = seconds(25)});
  const auto session = sessions.open(ann, start);
  ASSERT_TRUE(sessions.find(session->id(), "", ann.source, start + seconds(2)));
  const auto given = sessions.give(start + seconds(1));
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(given[0].age, seconds(1));
  EXPECT_EQ(given[0].idle, seconds(0));
}

TEST(ClientSessions, AreLimitedInAllAndByOwnerAndEndedOnesMakeRoom) {
  ClientSessions sessions({.total = 3, .per_owner = 2, .idle = seconds(10)});
  EXPECT_TRUE(sessions.open(ann, start) && sessions.open(ann, start));
  EXPECT_FALSE(sessions.open(ann, start)) << "by owner";
  EXPECT_TRUE(sessions.open(node, start));
  EXPECT_FALSE(sessions.open(node, start)) << "in all";
  EXPECT_EQ(sessions.state().refused, 2u);
  EXPECT_TRUE(sessions.open(node, start + seconds(11)));
  EXPECT_EQ(sessions.state().open, 1u);
}

TEST(ClientSessions, ABlockOf64BitsOfIpv6IsOneOwnerAndEachAddressHasItsOwnSessions) {
  ClientSessions sessions({.per_owner = 2});
  const SessionOwner one{"", "ann", *IpAddress::parse("2001:db8:1:2::1")};
  const SessionOwner two{"", "ann", *IpAddress::parse("2001:db8:1:2::2")};
  const auto session = sessions.open(one, start);
  ASSERT_TRUE(session && sessions.open(two, start));
  EXPECT_FALSE(sessions.open({"", "ann", *IpAddress::parse("2001:db8:1:2::3")}, start));
  EXPECT_FALSE(sessions.find(session->id(), "", two.source, start)) << "a session is bound to the exact address";
  EXPECT_FALSE(sessions.tear_down(session->id(), two, start));
  EXPECT_TRUE(sessions.tear_down(session->id(), one, start));
  EXPECT_TRUE(sessions.open(two, start)) << "its place came back";
}

TEST(ClientSession, HasAtMostOneWindowOfABoundedSize) {
  ClientSession session({}, ann);
  EXPECT_FALSE(session.use_tokens({}, {}).window);
  EXPECT_EQ(session.use_tokens({}, 7).accepted, false) << "no window, no token";
  EXPECT_FALSE(session.use_tokens(0, {}).window) << "a window of nothing is no window";
  const auto granted = session.use_tokens(0xffffffff, {}).window;
  ASSERT_TRUE(granted);
  EXPECT_EQ(granted->size, limits::token_window_max);
  EXPECT_EQ(session.use_tokens(8, {}).window, granted) << "never a second one";
  const auto spent = session.use_tokens({}, granted->base);
  EXPECT_EQ(spent.accepted, true);
  EXPECT_EQ(spent.window->base, granted->base + 1);
  EXPECT_EQ(session.use_tokens({}, granted->base).accepted, false);
}

TEST(ClientSession, SpendsATokenOnceUnderConcurrency) {
  ClientSession session({}, ann);
  const auto base = session.use_tokens(limits::token_window_max, {}).window->base;
  constexpr std::uint32_t tokens = 3'000;
  std::vector<std::atomic<int>> spent(tokens);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (std::uint32_t t = 0; t < tokens; ++t) {
          if (*session.use_tokens({}, base + t).accepted) ++spent[t];
        }
      });
    }
  }
  for (const auto& count : spent) EXPECT_EQ(count.load(), 1);
}

TEST(ClientSessions, GoOnInAnotherProcessWhichAloneSpendsTheirTokens) {
  ClientSessions before({.idle = seconds(10), .life = seconds(25)});
  ClientSessions after({.idle = seconds(10), .life = seconds(25)});
  const auto session = before.open(ann, start);
  const auto base = session->use_tokens(8, {}).window->base;
  EXPECT_TRUE(*session->use_tokens({}, base + 1).accepted);
  ASSERT_TRUE(before.open(node, start + seconds(2)));
  ASSERT_TRUE(before.open(node, start - seconds(30))) << "which has ended meanwhile";
  const auto later = start + seconds(8);
  auto moved = before.give(later);
  ASSERT_EQ(moved.size(), 2u);
  for (auto& one : moved) ASSERT_TRUE(after.take(std::move(one), later));

  const auto there = after.find(session->id(), "", ann.source, later);
  ASSERT_TRUE(there);
  EXPECT_EQ(there->owner(), ann);
  EXPECT_FALSE(*there->use_tokens({}, base + 1).accepted) << "spent before";
  EXPECT_TRUE(*there->use_tokens({}, base).accepted);
  EXPECT_TRUE(after.find(session->id(), "", ann.source, start + seconds(17)));
  EXPECT_FALSE(after.find(session->id(), "", ann.source, start + seconds(25))) << "its life did not begin anew";

  EXPECT_TRUE(before.find(session->id(), "", ann.source, later)) << "a connection there is in its session still";
  const auto tokens = session->use_tokens(8, base + 2);
  EXPECT_TRUE(tokens.moved);
  EXPECT_FALSE(tokens.accepted || tokens.window);
  EXPECT_FALSE(session->use_tokens(8, {}).moved);
  EXPECT_FALSE(before.open(ann, later)) << "nobody else would know it";
}

TEST(ClientSessions, OfAPredecessorAreLimitedLikeOthersAndATeardownIsTold) {
  ClientSessions sessions({.total = 2, .per_owner = 1});
  std::vector<SessionId> torn;
  sessions.on_teardown([&](const SessionId& id) { torn.push_back(id); });
  EXPECT_TRUE(sessions.take({SessionId{1}, ann}, start));
  EXPECT_EQ(sessions.take({SessionId{2}, ann}, start).error().code, Code::limit) << "by owner";
  EXPECT_EQ(sessions.take({SessionId{1}, node}, start).error().code, Code::conflict) << "the same id";
  EXPECT_TRUE(sessions.take({SessionId{2}, node}, start));
  EXPECT_EQ(sessions.take({SessionId{3}, {"", "bob", ann.source}}, start).error().code, Code::limit) << "in all";
  EXPECT_TRUE(sessions.tear_down(SessionId{1}, ann, start));
  EXPECT_FALSE(sessions.tear_down(SessionId{1}, ann, start));
  sessions.end(SessionId{2});
  sessions.end(SessionId{2});
  EXPECT_EQ(sessions.state().open, 0u);
  EXPECT_EQ(torn, std::vector{SessionId{1}}) << "one that ends elsewhere is not told";
}

}  // namespace
}  // namespace epif::admission
