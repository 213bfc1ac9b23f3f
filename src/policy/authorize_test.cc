#include "policy/authorize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace epif::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

PolicySet parsed(std::string_view text) {
  auto policies = parse_policies(text, "p.cedar");
  EXPECT_TRUE(policies) << policies.error().text();
  return policies ? std::move(*policies) : PolicySet{};
}

Request request(bool consent) {
  return {{"Node", "umc/modality"},
          {"Action", "share"},
          {"Node", "research/pacs"},
          Value::record({{"consent", Value(consent)}})};
}

Decision decided(std::string_view text, bool consent = true) {
  return authorize(parsed(text), Entities{}, request(consent));
}

std::vector<std::string> error_ids(const Decision& decision) {
  std::vector<std::string> ids;
  for (const auto& error : decision.errors) ids.push_back(error.id);
  return ids;
}

TEST(Authorize, DeniesWithoutAnyPolicy) {
  const auto decision = decided("");
  EXPECT_FALSE(decision.allow);
  EXPECT_THAT(decision.reason, IsEmpty());
}

TEST(Authorize, LetsForbidWinAndNamesOnlyTheForbids) {
  const auto decision = decided(R"(permit(principal, action, resource);
    @id("z") forbid(principal, action, resource); @id("b") forbid(principal, action, resource) unless { !context.consent };)");
  EXPECT_FALSE(decision.allow);
  EXPECT_THAT(decision.reason, ElementsAre("b", "z"));
}

TEST(Authorize, SkipsPoliciesThatFailAndListsThem) {
  const auto decision = decided(R"(permit(principal, action, resource) when { context.consent };
    forbid(principal, action, resource) when { context.none };
    permit(principal, action, resource) when { 1 };)");
  EXPECT_TRUE(decision.allow);
  EXPECT_THAT(decision.reason, ElementsAre("policy0"));
  EXPECT_THAT(error_ids(decision), ElementsAre("policy1", "policy2"));
  EXPECT_EQ(decision.errors[0].effect, Effect::forbid);
}

TEST(Authorize, DoesNotEvaluateConditionsWhereTheHeadDoesNotFit) {
  const auto decision = decided(R"(permit(principal == Node::"other/x", action, resource) when { context.none };)");
  EXPECT_THAT(decision.errors, IsEmpty());
}

TEST(Authorize, StopsAtTheFirstConditionThatDoesNotHold) {
  EXPECT_THAT(decided("permit(principal, action, resource) when { false } when { context.none };").errors, IsEmpty());
  EXPECT_EQ(decided("permit(principal, action, resource) when { true } unless { context.none };").errors.size(), 1u);
}

TEST(Authorize, UnitesWhatTheSatisfiedPermitsRequire) {
  constexpr auto text = R"(@require("encryption,audit") permit(principal, action, resource);
    @require("audit,firewall") permit(principal, action == Action::"share", resource);
    @require("never") permit(principal, action, resource) when { false };)";
  EXPECT_THAT(decided(text).required_attributes, ElementsAre("audit", "encryption", "firewall"));
  const auto denied = decided(std::string(text) + "forbid(principal, action, resource);");
  EXPECT_THAT(denied.required_attributes, IsEmpty());
}

TEST(Authorize, FindsActionsAndNodesByTheirGroups) {
  const auto entities = Entities::parse(R"([
    {"uid": {"type":"Action","id":"share"}, "parents": [{"type":"Action","id":"any"}]},
    {"uid": {"type":"Node","id":"umc/modality"}, "parents": [{"type":"Domain","id":"umc"}]}])",
                                        "e.json");
  ASSERT_TRUE(entities);
  const auto policies =
      parsed(R"(permit(principal in Domain::"umc", action in [Action::"x", Action::"any"], resource is Node);)");
  EXPECT_TRUE(authorize(policies, *entities, request(true)).allow);
  EXPECT_FALSE(authorize(policies, Entities{}, request(true)).allow);
  EXPECT_FALSE(authorize(parsed("permit(principal, action in [], resource);"), *entities, request(true)).allow);
}

TEST(NearestPermit, TellsWhichPartsOfTheConditionAreUnmet) {
  const auto near = nearest_permit(parsed(R"(
    @id("far") permit(principal, action, resource) when { context.consent && 1 == 2 && context.none };
    @id("near") permit(principal, action, resource) when { 1 == 1 && context.consent };
    @id("elsewhere") permit(principal, action, resource == Node::"x");)"),
                                   Entities{}, request(false));
  EXPECT_EQ(near.id, "near");
  EXPECT_THAT(near.failed, ElementsAre("`context.consent` was false"));
}

TEST(NearestPermit, TellsOfErrorsAndUnless) {
  const auto near =
      nearest_permit(parsed(R"(permit(principal, action, resource) when { context.none } unless { context.consent };)"),
                     Entities{}, request(true));
  EXPECT_THAT(near.failed, ElementsAre("`context.none` could not be evaluated (`context` has no attribute \"none\")",
                                       "`context.consent` was true (unless)"));
  EXPECT_EQ(nearest_permit(parsed("forbid(principal, action, resource);"), Entities{}, request(true)).id, "");
}

}  // namespace
}  // namespace epif::policy
