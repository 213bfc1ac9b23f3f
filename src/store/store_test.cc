#include "store/store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <latch>

#include "base/limits.h"
#include "store/audit.h"

namespace epif::store {
namespace {

using namespace std::chrono_literals;

/// Every promise of Store is tested on both implementations.
class StoreTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "memory") {
      store = make_memory_store();
      return;
    }
    folder = testing::TempDir() + "epif-store-XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    auto opened = open_sqlite(folder + "/epif.db");
    ASSERT_TRUE(opened) << opened.error().text();
    store = std::move(*opened);
  }
  void TearDown() override {
    store.reset();
    if (!folder.empty()) std::filesystem::remove_all(folder);
  }

  std::string folder;
  std::unique_ptr<Store> store;
};

INSTANTIATE_TEST_SUITE_P(Both, StoreTest, testing::Values("memory", "sqlite"), [](const auto& test) { return test.param; });

TEST_P(StoreTest, ReturnsWhatWasPutWithVersionAndGeneration) {
  ASSERT_EQ(store->put("Node", "umc/a", "{}", R"({"x":1})").value(), 1u);
  const auto record = store->get("Node", "umc/a").value();
  EXPECT_EQ(record.spec, R"({"x":1})");
  EXPECT_EQ(record.version, 1u);
  EXPECT_EQ(record.generation, 1u);
  EXPECT_EQ(record.status, "");
}

TEST_P(StoreTest, AStatusWriteLeavesTheGenerationAlone) {
  ASSERT_TRUE(store->put("Application", "app", "{}", "{}"));
  ASSERT_TRUE(store->put_status("Application", "app", R"({"phase":"Ready"})"));
  auto record = store->get("Application", "app").value();
  EXPECT_EQ(record.generation, 1u);
  EXPECT_EQ(record.version, 2u);
  ASSERT_TRUE(store->put("Application", "app", "{}", R"({"purpose":"research"})"));
  record = store->get("Application", "app").value();
  EXPECT_EQ(record.generation, 2u);
  EXPECT_EQ(record.status, R"({"phase":"Ready"})");
}

TEST_P(StoreTest, AWriteThatChangesNothingMakesNoEvent) {
  ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
  ASSERT_TRUE(store->put_status("Node", "a", "{}"));
  EXPECT_EQ(store->put("Node", "a", "{}", "{}").value(), 2u);
  EXPECT_EQ(store->put_status("Node", "a", "{}").value(), 2u);
  EXPECT_EQ(store->events("", 0, 100).value().size(), 2u);
}

TEST_P(StoreTest, RefusesAStaleVersionAndSaysWhichIsStored) {
  ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
  ASSERT_TRUE(store->put("Node", "a", "{}", R"({"x":1})", 1));
  const auto stale = store->put("Node", "a", "{}", R"({"x":2})", 1);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, Code::conflict);
  EXPECT_NE(stale.error().text().find("version is 2"), std::string::npos) << stale.error().text();
  EXPECT_EQ(store->put("Node", "a", "{}", "{}", 0).error().code, Code::conflict);
  EXPECT_EQ(store->put("Node", "new", "{}", "{}", 7).error().code, Code::conflict);
  EXPECT_EQ(store->get("Node", "a").value().spec, R"({"x":1})");
}

TEST_P(StoreTest, ATransactionHappensAsAWholeOrNotAtAll) {
  const Write writes[] = {{Write::Type::put, "Node", "a", "{}", "{}"},
                          {Write::Type::put_status, "Node", "a", {}, "{}"},
                          {Write::Type::remove, "Node", "missing"}};
  EXPECT_EQ(store->commit(writes).error().code, Code::not_found);
  EXPECT_EQ(store->revision(), 0u);
  EXPECT_EQ(store->get("Node", "a").error().code, Code::not_found);
  EXPECT_TRUE(store->events("", 0, 10).value().empty());
  EXPECT_EQ(store->commit(std::span(writes).first(2)).value(), 2u);
}

TEST_P(StoreTest, LaterWritesOfATransactionSeeEarlierOnes) {
  const Write writes[] = {{Write::Type::put, "Node", "a", "{}", R"({"x":1})", 0},
                          {Write::Type::put, "Node", "a", "{}", R"({"x":2})", 1},
                          {Write::Type::remove, "Node", "a", {}, {}, 2}};
  EXPECT_EQ(store->commit(writes).value(), 3u);
  EXPECT_TRUE(store->list("Node").value().records.empty());
}

TEST_P(StoreTest, ListsOneKindOrAllSortedWithTheRevision) {
  ASSERT_TRUE(store->put("Node", "b", "{}", "{}"));
  ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
  ASSERT_TRUE(store->put("Domain", "z", "{}", "{}"));
  const auto nodes = store->list("Node").value();
  EXPECT_EQ(nodes.revision, 3u);
  ASSERT_EQ(nodes.records.size(), 2u);
  EXPECT_EQ(nodes.records[0].name, "a");
  const auto all = store->list("").value();
  ASSERT_EQ(all.records.size(), 3u);
  EXPECT_EQ(all.records[0].kind, "Domain");
}

TEST_P(StoreTest, EventsTellEveryChangeInOrderFromAnyPoint) {
  ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
  ASSERT_TRUE(store->put("Domain", "d", "{}", "{}"));
  ASSERT_TRUE(store->remove("Node", "a"));
  const auto all = store->events("", 0, 10).value();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].type, Event::Type::removed);
  EXPECT_EQ(all[2].record.name, "a");
  const auto nodes = store->events("Node", 1, 10).value();
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].revision, 3u);
  EXPECT_EQ(store->events("", 0, 1).value().size(), 1u);
}

TEST_P(StoreTest, CompactedHistoryIsRefusedWithTheAdviceToListAgain) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store->put("Node", std::to_string(i), "{}", "{}"));
  ASSERT_TRUE(store->compact(3));
  const auto old = store->events("", 2, 10);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, Code::expired);
  EXPECT_NE(old.error().advice.find("list again"), std::string::npos);
  EXPECT_EQ(store->events("", 3, 10).value().size(), 2u);
  EXPECT_EQ(store->list("Node").value().records.size(), 5u);
}

TEST_P(StoreTest, WaitReturnsAtOnceForAPastWriteAndAtTheDeadlineForNone) {
  ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
  EXPECT_EQ(store->wait(0, std::chrono::steady_clock::now() + 10s), 1u);
  EXPECT_EQ(store->wait(1, std::chrono::steady_clock::now() + 5ms), 1u);
}

TEST_P(StoreTest, AWatcherMissesNothingWhileManyThreadsWrite) {
  constexpr int writers = 4;
  constexpr int each = 50;
  std::latch start(writers + 1);
  std::vector<std::jthread> threads;
  for (int t = 0; t < writers; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      for (int i = 0; i < each; ++i) ASSERT_TRUE(store->put("Node", fmt::format("{}-{}", t, i), "{}", "{}"));
    });
  }
  start.arrive_and_wait();
  Revision seen = 0;
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (seen < writers * each && store->wait(seen, deadline) > seen) {
    const auto events = store->events("", seen, 7).value();
    for (const auto& event : events) EXPECT_EQ(event.revision, ++seen);
  }
  EXPECT_EQ(seen, Revision{writers * each});
}

TEST_P(StoreTest, SubscribersHearOfEveryEffectiveCommitAndOfNoneAfterTheEnd) {
  int heard = 0;
  auto subscription = store->subscribe([&] { ++heard; });
  ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
  ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
  EXPECT_EQ(heard, 1);
  subscription.reset();
  ASSERT_TRUE(store->remove("Node", "a"));
  EXPECT_EQ(heard, 1);
}

TEST_P(StoreTest, RefusesAResourceOverTheSizeLimit) {
  const auto result = store->put("Node", "a", "{}", std::string(limits::resource_max_bytes + 1, ' '));
  EXPECT_EQ(result.error().code, Code::limit);
  EXPECT_EQ(store->revision(), 0u);
}

TEST_P(StoreTest, KeepsTextByteForByte) {
  const std::string odd("\0quote' \xc3\xa9 \n", 12);
  ASSERT_TRUE(store->put("Node", "it's; DROP TABLE resources", odd, odd));
  const auto record = store->get("Node", "it's; DROP TABLE resources").value();
  EXPECT_EQ(record.metadata, odd);
  EXPECT_EQ(record.spec, odd);
}

TEST_P(StoreTest, AnAlteredAuditLineBreaksTheChain) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(store->append_audit(fmt::format(R"({{"n":{}}})", i)));
  auto lines = store->audit(0, 100).value();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(first_broken_line(lines), 0u);
  EXPECT_EQ(first_broken_line(std::span(lines).subspan(2), lines[1].hash), 0u);
  EXPECT_EQ(store->audit(3, 100).value().size(), 1u);
  auto altered = lines;
  altered[1].entry = R"({"n":9})";
  EXPECT_EQ(first_broken_line(altered), 2u);
  lines.erase(lines.begin() + 1);
  EXPECT_NE(first_broken_line(lines), 0u);
}

}  // namespace
}  // namespace epif::store
