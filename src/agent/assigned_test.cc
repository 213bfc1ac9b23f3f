#include "agent/assigned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace epif::agent {
namespace {

using testing::HasSubstr;

constexpr const char* node = "umc/modality";

Assignment assignment(const std::string& route = "imaging") {
  Assignment out;
  out.node = out.routes.node = node;
  Route one;
  one.id = route;
  one.flow = "app/flow";
  one.destination = *CaptureTarget::parse("10.2.0.10:4242");
  out.routes.routes = {one};
  return out;
}

store::Record record(std::uint64_t generation, const std::string& spec, store::Revision version) {
  return {.kind = std::string(assignment_kind), .name = node, .metadata = "{}", .spec = spec, .status = {}, .version = version,
          .generation = generation};
}
store::Record record(std::uint64_t generation, const Assignment& what, store::Revision version = 40) {
  return record(generation, print(what), version);
}

/// Heard from store A, at its revision 50.
Assigned heard() {
  Assigned out(node);
  EXPECT_TRUE(out.listed({.revision = 50, .records = {record(3, assignment())}, .store = "A"}));
  EXPECT_TRUE(out.trouble().empty());
  return out;
}

TEST(AssignedByAnOrchestrator, a_deleted_node_has_no_assignment) {
  auto one = heard();
  EXPECT_TRUE(one.changed({.type = store::Event::Type::removed, .revision = 51, .record = record(3, assignment())}));
  EXPECT_FALSE(one.wanted());
  EXPECT_TRUE(one.removed());
}

TEST(AssignedByAnOrchestrator, a_restored_backup_takes_nothing_away_however_far_its_revisions_climb) {
  auto one = heard();
  for (const store::Revision revision : {20, 49, 50, 51, 250, 100'000}) {
    static_cast<void>(one.listed({.revision = revision, .records = {}, .store = "A"}));
    EXPECT_EQ(one.wanted(), assignment()) << revision;
    EXPECT_FALSE(one.removed());
    EXPECT_THAT(one.trouble(), HasSubstr("does not know"));
  }
  Assigned restarted(node);
  restarted.restore({.assignment = assignment(), .generation = 3, .store = "A"});
  EXPECT_TRUE(restarted.listed({.revision = 250, .records = {}, .store = "A"}));
  EXPECT_EQ(restarted.wanted(), assignment());
  EXPECT_TRUE(restarted.changed({.type = store::Event::Type::removed, .revision = 251, .record = record(3, assignment())}));
  EXPECT_FALSE(restarted.wanted());
}

TEST(AssignedByAnOrchestrator, an_agent_that_was_away_hears_of_the_removal_when_it_is_back) {
  const auto proof = [](std::uint64_t revision) { return record(4, print(Removal{node, revision, std::chrono::sys_seconds(std::chrono::seconds(1))}), 900); };
  Assigned back(node);
  back.restore({.assignment = assignment(), .generation = 3, .version = 40, .store = "A"});
  EXPECT_TRUE(back.listed({.revision = 900, .records = {proof(55)}, .store = "A"}));
  EXPECT_FALSE(back.wanted());
  EXPECT_TRUE(back.removed());
  EXPECT_FALSE(back.listed({.revision = 900, .records = {proof(55)}, .store = "A"})) << "said once";

  Assigned before_the_backup(node);
  before_the_backup.restore({.assignment = assignment(), .generation = 3, .version = 70, .store = "A"});
  EXPECT_TRUE(before_the_backup.listed({.revision = 900, .records = {proof(55)}, .store = "A"}));
  EXPECT_EQ(before_the_backup.wanted(), assignment()) << "a backup of a time when the node was removed, before it was added again";
  EXPECT_THAT(before_the_backup.trouble(), HasSubstr("says nothing of a removal"));

  EXPECT_FALSE(before_the_backup.changed({.type = store::Event::Type::put, .revision = 901, .record = proof(55)})) << "with a new status";
  EXPECT_EQ(before_the_backup.wanted(), assignment());
  EXPECT_FALSE(before_the_backup.changed({.type = store::Event::Type::removed, .revision = 902, .record = proof(55)})) << "its time is over";
  EXPECT_EQ(before_the_backup.wanted(), assignment());

  Assigned elsewhere(node);
  elsewhere.restore({.assignment = assignment(), .generation = 3, .version = 40, .store = "A"});
  EXPECT_TRUE(elsewhere.listed({.revision = 900, .records = {proof(55)}, .store = "B"}));
  EXPECT_EQ(elsewhere.wanted(), assignment()) << "another store's word";

  Assigned knows_nothing(node);
  EXPECT_TRUE(knows_nothing.listed({.revision = 900, .records = {proof(55)}, .store = "A"}));
  EXPECT_FALSE(knows_nothing.removed()) << "what an earlier run left stays shut";

  auto listening = heard();
  EXPECT_TRUE(listening.changed({.type = store::Event::Type::put, .revision = 56, .record = proof(55)}));
  EXPECT_TRUE(listening.removed());
  EXPECT_TRUE(listening.changed({.type = store::Event::Type::put, .revision = 57, .record = record(5, assignment(), 57)}));
  EXPECT_EQ(listening.wanted(), assignment()) << "added again";
}

TEST(AssignedByAnOrchestrator, a_report_that_was_written_beside_the_removal_does_not_hide_it) {
  const auto proof = record(4, print(Removal{node, 55, std::chrono::sys_seconds(std::chrono::seconds(1))}), 57);
  auto one = heard();
  EXPECT_FALSE(one.changed({.type = store::Event::Type::put, .revision = 56, .record = record(3, assignment(), 56)})) << "its own report";
  EXPECT_EQ(one.version(), 40u) << "of the assignment, not of what is said of it";
  EXPECT_TRUE(one.changed({.type = store::Event::Type::put, .revision = 57, .record = proof}));
  EXPECT_TRUE(one.removed());
}

TEST(AssignedByAnOrchestrator, a_store_without_the_node_removed_nothing_of_which_nothing_is_known) {
  Assigned one(node);
  EXPECT_TRUE(one.listed({.revision = 60, .records = {}, .store = "A"}));
  EXPECT_TRUE(one.informed());
  EXPECT_FALSE(one.removed());
}

TEST(AssignedByAnOrchestrator, joining_again_lets_another_store_speak_once) {
  Assigned one(node);
  one.restore({.assignment = assignment(), .generation = 3, .store = "A"});
  one.allow_other_store();
  EXPECT_TRUE(one.listed({.revision = 1, .records = {}, .store = "B"}));
  EXPECT_FALSE(one.foreign());
  EXPECT_EQ(one.wanted(), assignment());
  EXPECT_TRUE(one.changed({.type = store::Event::Type::put, .revision = 4, .record = record(1, assignment("other"), 4)}));
  EXPECT_EQ(one.store(), "B");
  EXPECT_TRUE(one.listed({.revision = 1, .records = {}, .store = "C"}));
  EXPECT_TRUE(one.foreign());
}

TEST(AssignedByAnOrchestrator, an_empty_new_store_takes_nothing_away) {
  auto one = heard();
  EXPECT_TRUE(one.listed({.revision = 1, .records = {}, .store = "B"}));
  EXPECT_EQ(one.wanted(), assignment());
  EXPECT_TRUE(one.foreign());
  EXPECT_THAT(one.trouble(), HasSubstr("another store"));
  EXPECT_THAT(one.trouble(), HasSubstr("--rejoin"));
  EXPECT_FALSE(one.listed({.revision = 2, .records = {}, .store = "B"})) << "said once";
}

TEST(AssignedByAnOrchestrator, a_foreign_store_cannot_assign_until_the_host_joins_again) {
  auto one = heard();
  EXPECT_TRUE(one.listed({.revision = 9, .records = {record(1, assignment("less"), 9)}, .store = "B"}));
  EXPECT_FALSE(one.changed({.type = store::Event::Type::put, .revision = 10, .record = record(2, assignment("less"), 10)}));
  EXPECT_FALSE(one.changed({.type = store::Event::Type::removed, .revision = 11, .record = record(2, assignment("less"), 10)}));
  EXPECT_EQ(one.wanted(), assignment());
  EXPECT_TRUE(one.listed({.revision = 55, .records = {record(3, assignment())}, .store = "A"})) << "the store came back";
  EXPECT_TRUE(one.trouble().empty());
}

TEST(AssignedByAnOrchestrator, a_host_that_joined_again_keeps_its_rules_until_the_new_store_knows_it) {
  Assigned one(node);
  one.restore({.assignment = assignment(), .generation = 3, .store = ""});
  EXPECT_TRUE(one.listed({.revision = 1, .records = {}, .store = "B"}));
  EXPECT_EQ(one.wanted(), assignment());
  EXPECT_THAT(one.trouble(), HasSubstr("does not know"));
  EXPECT_TRUE(one.changed({.type = store::Event::Type::put, .revision = 4, .record = record(1, assignment("other"), 4)}));
  EXPECT_EQ(one.wanted(), assignment("other"));
  EXPECT_EQ(one.store(), "B");
  EXPECT_TRUE(one.trouble().empty());
}

TEST(AssignedByAnOrchestrator, a_store_from_before_the_assignment_takes_nothing_away_and_may_assign) {
  auto one = heard();
  EXPECT_TRUE(one.listed({.revision = 20, .records = {}, .store = "A"}));
  EXPECT_EQ(one.wanted(), assignment());
  EXPECT_TRUE(one.listed({.revision = 21, .records = {record(1, assignment("other"), 21)}, .store = "A"}));
  EXPECT_EQ(one.wanted(), assignment("other"));
}

TEST(AssignedByAnOrchestrator, a_new_assignment_that_cannot_be_read_blocks_every_route_with_the_reason) {
  for (const auto* spec : {R"({"node":"umc/modality","role":"endpoint","routes":{"surprise":1}})", "{}", R"({"role":"king"})"}) {
    auto one = heard();
    EXPECT_TRUE(one.changed({.type = store::Event::Type::put, .revision = 51, .record = record(4, spec, 51)}));
    ASSERT_TRUE(one.wanted());
    EXPECT_THAT(one.wanted()->routes.routes.at(0).blocked, HasSubstr("assignment 4 of umc/modality cannot be read")) << spec;
    EXPECT_EQ(one.generation(), 3u) << "the new one is not in place";
    EXPECT_FALSE(one.trouble().empty());
    EXPECT_FALSE(one.changed({.type = store::Event::Type::put, .revision = 51, .record = record(4, spec, 51)})) << "said once";
    EXPECT_TRUE(one.changed({.type = store::Event::Type::put, .revision = 52, .record = record(5, assignment(), 52)}));
    EXPECT_EQ(one.wanted(), assignment());
    EXPECT_TRUE(one.trouble().empty());
  }
}

TEST(AssignedByAnOrchestrator, an_assignment_that_did_not_change_blocks_nothing) {
  auto one = heard();  // its status was written, for one
  EXPECT_TRUE(one.changed({.type = store::Event::Type::put, .revision = 51, .record = record(3, "{}", 51)}));
  EXPECT_EQ(one.wanted(), assignment());
}

TEST(AssignedByAnOrchestrator, a_first_assignment_that_cannot_be_read_is_reported) {
  Assigned one(node);
  EXPECT_TRUE(one.listed({.revision = 5, .records = {record(1, "{}", 5)}, .store = "A"}));
  EXPECT_FALSE(one.wanted());
  EXPECT_FALSE(one.informed());
  EXPECT_THAT(one.trouble(), HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace epif::agent
