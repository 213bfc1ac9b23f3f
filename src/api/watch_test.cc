#include "api/test_world.h"
#include "model/assignment.h"

namespace epif::api {
namespace {

using namespace std::chrono_literals;

/// What a Watch told, as its owner would keep it.
class Heard {
 public:
  WatchCalls calls() {
    return {.listed = [this](const store::Listing& listing) { note([&] {
              ++lists;
              known.clear();
              for (const auto& record : listing.records) known[record.name] = record.spec;
            }); },
            .changed = [this](const store::Event& event) { note([&] {
              revisions.push_back(event.revision);
              if (event.type == store::Event::Type::put) known[event.record.name] = event.record.spec;
              else known.erase(event.record.name);
            }); },
            .connection = [this](const std::optional<Error>& error) { note([&] {
              error ? ++breaks : ++connects;
              if (error) last_error = *error;
            }); }};
  }
  template <class Condition>
  bool until(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 30s, condition);
  }

  std::map<std::string, std::string> known;
  std::vector<store::Revision> revisions;
  int lists = 0;
  int breaks = 0;
  int connects = 0;
  Error last_error;

 private:
  template <class Change>
  void note(Change change) {
    const std::scoped_lock lock(mutex_);
    change();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

using WatchTest = World;

void write(store::Store& store, int number) {
  const auto name = "n" + std::to_string(number);
  EXPECT_TRUE(store.put("Assignment", "a/" + name, R"({"name":")" + name + R"(","domain":"a"})", "{}"));
}

TEST_F(WatchTest, ListsThenTellsEveryChange) {
  write(*store, 1);
  Heard heard;
  const Watch watch(as_user(), "Assignment", "", heard.calls());
  ASSERT_TRUE(heard.until([&] { return heard.lists == 1 && heard.connects == 1; }));
  EXPECT_EQ(heard.known.size(), 1u);
  for (int i = 2; i <= 20; ++i) write(*store, i);
  ASSERT_TRUE(store->remove("Assignment", "a/n1"));
  // Not the number of records: 19 of them are known for a moment before the last two events, too.
  ASSERT_TRUE(heard.until([&] { return heard.revisions.size() == 20; }));
  EXPECT_EQ(heard.known.size(), 19u);
  EXPECT_EQ(heard.lists, 1);
}

TEST_F(WatchTest, AReconnectLosesNothingAndRepeatsNothing) {
  Heard heard;
  const Watch watch(as_user(), "Assignment", "", heard.calls());
  ASSERT_TRUE(heard.until([&] { return heard.connects == 1; }));
  for (int round = 0; round < 3; ++round) {
    write(*store, 10 * round);
    const auto where = server->address();
    server.reset();
    for (int i = 1; i < 10; ++i) write(*store, 10 * round + i);
    start(where);
    ASSERT_TRUE(heard.until([&] { return heard.revisions.size() == 10u * static_cast<unsigned>(round + 1); })) << round;
  }
  EXPECT_TRUE(std::ranges::is_sorted(heard.revisions));
  EXPECT_EQ(std::ranges::adjacent_find(heard.revisions), heard.revisions.end());
  EXPECT_EQ(heard.lists, 1);
  EXPECT_GE(heard.breaks, 3);
}

TEST_F(WatchTest, WhenHistoryIsGoneItListsAgain) {
  Heard heard;
  const Watch watch(as_user(), "Assignment", "", heard.calls());
  ASSERT_TRUE(heard.until([&] { return heard.connects == 1; }));
  const auto where = server->address();
  server.reset();
  for (int i = 0; i < 5; ++i) write(*store, i);
  ASSERT_TRUE(store->remove("Assignment", "a/n0"));
  ASSERT_TRUE(store->compact(store->revision()));
  start(where);
  ASSERT_TRUE(heard.until([&] { return heard.lists == 2; }));
  EXPECT_EQ(heard.known.size(), 4u);
}

TEST_F(WatchTest, AnAgentHearsOnlyOfItsOwn) {
  Heard heard;
  const Watch watch(as_agent("a/n3"), "Assignment", "", heard.calls());
  ASSERT_TRUE(heard.until([&] { return heard.connects == 1; }));
  for (int i = 0; i < 5; ++i) write(*store, i);
  ASSERT_TRUE(heard.until([&] { return !heard.known.empty(); }));
  ASSERT_TRUE(store->put_status("Assignment", "a/n3", "{}"));
  ASSERT_TRUE(heard.until([&] { return heard.revisions.size() == 2; }));
  EXPECT_TRUE(heard.known.contains("a/n3"));
  EXPECT_EQ(heard.known.size(), 1u);
}

TEST_F(WatchTest, EndsAtOnceWhileNobodyAnswers) {
  server.reset();
  Heard heard;
  std::optional<Watch> watch;
  watch.emplace(as_user(), "Assignment", "", heard.calls());
  ASSERT_TRUE(heard.until([&] { return heard.breaks >= 1; }));
  const auto begin = std::chrono::steady_clock::now();
  watch.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(WatchTest, EndsWithTheTokenThatOpenedIt) {
  auto options = as_user();
  options.token = issue_user_token(*store, "bob", 3s).value();
  Heard heard;
  const Watch watch(options, "Assignment", "", heard.calls());
  ASSERT_TRUE(heard.until([&] { return heard.connects == 1; }));
  ASSERT_TRUE(heard.until([&] { return heard.breaks >= 1; }));
  EXPECT_EQ(heard.last_error.code, Code::unauthenticated) << heard.last_error.text();
  EXPECT_NE(heard.last_error.what.find("expired"), std::string::npos) << heard.last_error.text();
  write(*store, 1);
  ASSERT_TRUE(heard.until([&] { return heard.breaks >= 2; }));
  EXPECT_TRUE(heard.known.empty());
}

TEST_F(WatchTest, EndsWithTheMembersCertificateAsDoItsRequests) {
  server.reset();
  deadline_ms = 30'000;  // so that the connection of `member` is kept
  start();
  const ClientOptions options{.url = url, .tls = identity({.identity = "a/n1", .valid = 3s})};
  auto member = client(options);
  ASSERT_EQ(member->call("GET", "/v1/assignments/a/n1")->status, 404);
  Heard heard;
  const Watch watch(options, "Assignment", "", heard.calls());
  ASSERT_TRUE(heard.until([&] { return heard.connects == 1; }));
  ASSERT_TRUE(heard.until([&] { return heard.breaks >= 1; }));
  EXPECT_EQ(heard.last_error.code, Code::unauthenticated) << heard.last_error.text();
  write(*store, 1);
  EXPECT_EQ(member->call("GET", "/v1/assignments/a/n1")->status, 401);
  EXPECT_TRUE(heard.known.empty());
}

using JoinTest = World;

TEST_F(JoinTest, ANodeJoinsReadsItsMembershipAndRenews) {
  const auto token_text = issue_join_token(*store, "a/x", authority->fingerprint())->text();
  const auto member = join(url, token_text, "a/x", folder + "/node");
  ASSERT_TRUE(member) << member.error().text();
  const auto opened = open_membership(folder + "/node");
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_EQ(opened->identity, "a/x");
  EXPECT_EQ(std::filesystem::status(folder + "/node/node.key").permissions(), std::filesystem::perms(0600));
  EXPECT_TRUE(client({.url = url, .tls = opened->tls})->list("Assignment"));
  const auto renewed = renew(url, *opened, folder + "/node");
  ASSERT_TRUE(renewed) << renewed.error().text();
  EXPECT_NE(renewed->tls.certificate, opened->tls.certificate);
  EXPECT_EQ(open_membership(folder + "/node")->tls.certificate, renewed->tls.certificate);
}

TEST_F(JoinTest, ARemovedNodesCertificateIsNotRenewed) {
  const auto token_text = issue_join_token(*store, "a/x", authority->fingerprint())->text();
  const auto member = join(url, token_text, "a/x", folder + "/node");
  ASSERT_TRUE(member) << member.error().text();
  const std::string metadata = R"({"name":"x","domain":"a"})";
  ASSERT_TRUE(store->put("Assignment", "a/x", metadata, print(Removal{"a/x", 1, std::chrono::sys_seconds(std::chrono::seconds(1))})));
  const auto renewed = renew(url, *member, folder + "/node");
  ASSERT_FALSE(renewed);
  EXPECT_EQ(renewed.error().code, Code::denied) << renewed.error().text();
  EXPECT_EQ(open_membership(folder + "/node")->tls.certificate, member->tls.certificate) << "the old one stays";
  ASSERT_TRUE(store->put("Assignment", "a/x", metadata, "{}"));
  EXPECT_TRUE(renew(url, *member, folder + "/node")) << "added again";
}

TEST_F(JoinTest, ARefusedJoinLeavesNothingBehind) {
  const auto bound = issue_join_token(*store, "a/x", authority->fingerprint()).value();
  EXPECT_EQ(join(url, bound.text(), "b/y", folder + "/node").error().code, Code::denied);
  auto forged = bound;
  forged.secret.back() = forged.secret.back() == '0' ? '1' : '0';
  EXPECT_EQ(join(url, forged.text(), "a/x", folder + "/node").error().code, Code::unauthenticated);
  // A token of another orchestrator: the secret must not be sent to this one.
  auto foreign = bound;
  foreign.authority_fingerprint = std::string(64, '0');
  EXPECT_EQ(join(url, foreign.text(), "a/x", folder + "/node").error().code, Code::unauthenticated);
  EXPECT_FALSE(std::filesystem::exists(folder + "/node"));
  EXPECT_EQ(open_membership(folder + "/node").error().code, Code::not_found);
}

}  // namespace
}  // namespace epif::api
