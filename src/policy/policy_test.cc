#include "policy/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace epif::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

PolicySet parsed(std::string_view text) {
  auto policies = parse_policies(text, "p.cedar");
  EXPECT_TRUE(policies) << policies.error().text();
  return policies ? std::move(*policies) : PolicySet{};
}

TEST(Policy, NamesPoliciesByIdOrPosition) {
  const auto set = parsed(R"(permit(principal, action, resource);
    @id("two") forbid(principal, action, resource);
    permit(principal, action, resource);)");
  ASSERT_EQ(set.policies.size(), 3u);
  EXPECT_EQ(set.policies[0].id, "policy0");
  EXPECT_EQ(set.policies[1].id, "two");
  EXPECT_EQ(set.policies[1].effect, Effect::forbid);
  EXPECT_EQ(set.policies[2].id, "policy2");
  EXPECT_EQ(set.policies[2].where(), "p.cedar:3:5");
}

TEST(Policy, ReadsRequiredAttributesSortedAndOnce) {
  const auto set = parsed(R"(@id("a") @require("encryption, audit,encryption") permit(principal, action, resource);)");
  EXPECT_THAT(set.policies[0].requires_attributes, ElementsAre("audit", "encryption"));
}

TEST(Policy, ReadsEveryFormOfHead) {
  const auto set = parsed(R"(
    permit(principal == User::"a", action == Action::"x", resource == Hospital::Node::"n");
    permit(principal in Group::"g", action in [Action::"x", NS::Action::"y"], resource is Node);
    permit(principal is User in Group::"g", action in [], resource in Domain::"umc");)");
  EXPECT_EQ(set.policies[0].resource.entities[0].text(), "Hospital::Node::\"n\"");
  EXPECT_EQ(set.policies[1].action.entities.size(), 2u);
  EXPECT_EQ(set.policies[1].resource.kind, ScopePart::Kind::is);
  EXPECT_EQ(set.policies[2].principal.kind, ScopePart::Kind::is_in);
  EXPECT_THAT(set.policies[2].action.entities, IsEmpty());
}

TEST(Policy, TakesCommentsOtherAnnotationsAndAnEmptyText) {
  EXPECT_EQ(parsed("// nothing but a comment").policies.size(), 0u);
  EXPECT_EQ(parsed("").policies.size(), 0u);
  EXPECT_EQ(parsed("@advice(\"x\") @if permit(principal, action, resource) when { true } unless { false };").policies.size(),
            1u);
}

struct Refused {
  const char* text;
  const char* message;  ///< place and construct
};

class Refuses : public ::testing::TestWithParam<Refused> {};

TEST_P(Refuses, TextOutsideOfTheLanguageWithItsPlace) {
  const auto policies = parse_policies(GetParam().text, "p.cedar");
  ASSERT_FALSE(policies) << GetParam().text;
  EXPECT_THAT(policies.error().text(), HasSubstr(GetParam().message)) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Heads, Refuses,
    ::testing::Values(
        Refused{"allow(principal, action, resource);", "p.cedar:1:1: expected `permit` or `forbid`, found `allow`"},
        Refused{"permit(principal, action);", "p.cedar:1:25: expected `,`, found `)`"},
        Refused{"permit(action, principal, resource);", "p.cedar:1:8: expected `principal`, found `action`"},
        Refused{"permit(principal, action, resource)", "p.cedar:1:36: expected `when`, `unless` or `;`, found the end"},
        Refused{"permit(principal == ?principal, action, resource);", "p.cedar:1:21: templates are not supported"},
        Refused{"permit(principal, action, resource in ?resource);", "p.cedar:1:39: templates are not supported"},
        Refused{"permit(principal in [User::\"a\"], action, resource);", "p.cedar:1:21: a list after `in`"},
        Refused{"permit(principal != User::\"a\", action, resource);", "p.cedar:1:18: `!=` in the head"},
        Refused{"permit(principal, action is Action, resource);", "p.cedar:1:26: `is` on the action"},
        Refused{"permit(principal, action == Share::\"x\", resource);", "p.cedar:1:29: Share::\"x\" is not an action"},
        Refused{"permit(principal == User, action, resource);", "p.cedar:1:25: expected `::`"},
        Refused{"permit(principal == if::\"a\", action, resource);", "p.cedar:1:21: `if` is a reserved word"},
        Refused{"permit(principal, action, resource) where { true };", "p.cedar:1:37: expected `when`, `unless` or `;`"},
        Refused{"permit(principal, action, resource) when { };", "p.cedar:1:44: expected an expression"},
        Refused{"permit(principal, action, resource) when { true;", "p.cedar:1:48: expected `}`"}));

INSTANTIATE_TEST_SUITE_P(
    Annotations, Refuses,
    ::testing::Values(
        Refused{"@id(\"a\")\n@id(\"b\") permit(principal, action, resource);", "p.cedar:2:2: @id stands twice"},
        Refused{"@id(\"\") permit(principal, action, resource);", "p.cedar:1:5: @id is empty"},
        Refused{"@id(a) permit(principal, action, resource);", "p.cedar:1:5: expected the value"},
        Refused{"@requires(\"a\") permit(principal, action, resource);", "p.cedar:1:2: @requires is not known"},
        Refused{"@Require(\"a\") permit(principal, action, resource);", "p.cedar:1:2: @Require is not known"},
        Refused{"@require(\"a\") forbid(principal, action, resource);", "p.cedar:1:2: @require stands on a forbid"},
        Refused{"@require(\"a,,b\") permit(principal, action, resource);", "p.cedar:1:10: @require holds an empty"},
        Refused{"@require permit(principal, action, resource);", "p.cedar:1:2: @require holds an empty"}));

std::string when(std::string_view expression) {
  return "permit(principal, action, resource)\nwhen { " + std::string(expression) + " };";
}

class RefusesExpression : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusesExpression, OutsideOfTheLanguageWithItsPlace) {
  const auto policies = parse_policies(when(GetParam().text), "p.cedar");
  ASSERT_FALSE(policies) << GetParam().text;
  EXPECT_THAT(policies.error().text(), HasSubstr(GetParam().message)) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Expressions, RefusesExpression,
    ::testing::Values(
        Refused{"1 / 2 == 3", "p.cedar:2:10: the operator `/`"}, Refused{"1 % 2 == 3", "p.cedar:2:10: the operator `%`"},
        Refused{"1 = 2", "p.cedar:2:10: `=` is not an operator"}, Refused{"true & false", "p.cedar:2:13: \"&\" is not part"},
        Refused{"1 < 2 < 3", "p.cedar:2:14: a second relation `<`"},
        Refused{"1 == 2 == true", "p.cedar:2:15: a second relation `==`"},
        Refused{"a in b in c", "p.cedar:2:8: unknown name `a`"}, Refused{"consent", "p.cedar:2:8: unknown name `consent`"},
        Refused{"context.", "p.cedar:2:17: expected an attribute name"},
        Refused{"context.if", "p.cedar:2:16: `if` is a reserved word"},
        Refused{"context[x]", "p.cedar:2:16: expected an attribute name in quotes"},
        Refused{"context.frobnicate()", "p.cedar:2:16: `frobnicate` is not a method"},
        Refused{"frobnicate(1)", "p.cedar:2:8: `frobnicate` is not a function"},
        Refused{"contains([1], 1)", "p.cedar:2:8: `contains` is a method"},
        Refused{"\"1.1.1.1\".ip()", "p.cedar:2:18: `ip` is not a method"},
        Refused{"context.a like context.b", "p.cedar:2:23: expected a string literal"},
        Refused{"context has 1", "p.cedar:2:20: expected an attribute name"},
        Refused{"principal is \"User\"", "p.cedar:2:21: expected an entity type"},
        Refused{"true && if true then true else false", "p.cedar:2:16: `if` inside of an operator"},
        Refused{"if true then true", "p.cedar:2:26: expected `else`"},
        Refused{"{a: 1, a: 2}", "p.cedar:2:15: the key `a` stands twice"},
        Refused{"!!!!!true", "p.cedar:2:12: more than four `!`"}, Refused{"-----1 == 1", "p.cedar:2:12: more than four `-`"},
        Refused{"9223372036854775808 == 1", "p.cedar:2:8: the number 9223372036854775808"},
        Refused{"-9223372036854775809 == 1", "p.cedar:2:9: the number 9223372036854775809"},
        Refused{"1.5 == 1", "p.cedar:2:10: expected an attribute name"},
        Refused{"?principal == 1", "p.cedar:2:8: templates"}, Refused{"\"a\\qb\" == 1", "p.cedar:2:10: unknown escape"},
        Refused{"\"\\*\" == 1", "p.cedar:2:9: unknown escape"}, Refused{"\"\\u{d800}\" == 1", "p.cedar:2:9: unknown escape"},
        Refused{"\"\\x80\" == 1", "p.cedar:2:9: unknown escape"},
        Refused{"\"open", "p.cedar:2:8: the string that starts here has no end"},
        Refused{"'a' == 'a'", "p.cedar:2:8: \"'\" is not part"}, Refused{"\"ä\" == €", "p.cedar:2:15: \"€\" is not part"},
        Refused{"\"\xff\"", "p.cedar:2:9: not UTF-8"},
        Refused{"__cedar::a(1)", "p.cedar:2:8: `__cedar` is a reserved word"}));

TEST(Policy, RefusesTwoPoliciesWithOneId) {
  const auto policies = parse_policies(
      "@id(\"a\") permit(principal, action, resource);\n@id(\"a\") permit(principal, action, resource);", "p");
  ASSERT_FALSE(policies);
  EXPECT_EQ(policies.error().code, Code::conflict);
  EXPECT_EQ(policies.error().text().substr(0, 5), "p:2:1");
  auto first = parsed("@id(\"x\") permit(principal, action, resource);");
  const auto added = first.add(parsed("@id(\"x\") forbid(principal, action, resource);"));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Code::conflict);
  EXPECT_EQ(first.policies.size(), 1u);
}

TEST(Policy, BoundsNestingChainsAndLengthWithoutOverflowingTheStack) {
  const std::string many(100'000, '(');
  const std::string brackets(100'000, '[');
  std::string chain = "context";
  for (int i = 0; i < 50'000; ++i) chain += ".a";
  std::string sum = "1";
  for (int i = 0; i < 50'000; ++i) sum += "+1";
  std::string choices;
  for (int i = 0; i < 10'000; ++i) choices += "if true then 1 else ";
  for (const auto& text : {many, brackets, chain, sum, choices}) {
    const auto policies = parse_policies(when(text), "p.cedar");
    ASSERT_FALSE(policies);
    EXPECT_EQ(policies.error().code, Code::limit) << policies.error().text();
  }
  const auto too_long = parse_policies(std::string(limits::policy_text_max_bytes + 1, ' '), "p.cedar");
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, Code::limit);
}

TEST(Policy, TakesALongListOfAlternatives) {
  std::string text = "false";
  for (int i = 0; i < 20'000; ++i) text += " || context.a == " + std::to_string(i);
  EXPECT_EQ(parsed(when(text)).policies.size(), 1u);
}

}  // namespace
}  // namespace epif::policy
