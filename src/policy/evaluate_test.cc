#include "policy/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/policy.h"

namespace epif::policy {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view entities_json = R"([
  {"uid": {"type": "User", "id": "alice"}, "parents": [{"type": "Group", "id": "staff"}],
   "attrs": {"age": 40, "name": "Alice", "home": {"city": {"name": "Utrecht"}},
             "boss": {"__entity": {"type": "User", "id": "bob"}}, "ip": {"__extn": {"fn": "ip", "arg": "10.0.0.7"}},
             "set": [3, 1, 2, 1]},
   "tags": {"ward": "B2"}},
  {"uid": {"type": "User", "id": "bob"}, "attrs": {"age": 50}, "parents": []},
  {"uid": {"type": "Group", "id": "staff"}, "attrs": {}, "parents": [{"type": "Group", "id": "all"}]}
])";

/// The value of an expression as text, or "error: ..." .
std::string value_of(std::string_view expression) {
  const auto policies =
      parse_policies("permit(principal, action, resource)\nwhen { " + std::string(expression) + " };", "p.cedar");
  if (!policies) return "refused: " + policies.error().text();
  const auto entities = Entities::parse(entities_json, "entities.json");
  if (!entities) return "entities: " + entities.error().text();
  const Request request{
      {"User", "alice"},
      {"Action", "view"},
      {"Photo", "p"},
      Value::record({{"consent", Value(true)}, {"n", Value(std::int64_t{7})}, {"text", Value(std::string("a*b"))}})};
  const auto& policy = policies->policies.front();
  const auto value = evaluate(policy.conditions.front().expression, {*entities, request, *policy.source});
  return value ? value->text() : "error: " + value.error().text();
}

struct Case {
  const char* expression;
  const char* value;
};

class Evaluates : public ::testing::TestWithParam<Case> {};

TEST_P(Evaluates, AsCedarDoes) {
  EXPECT_EQ(value_of(GetParam().expression), GetParam().value) << GetParam().expression;
}

INSTANTIATE_TEST_SUITE_P(
    Logic, Evaluates,
    ::testing::Values(Case{"true && false", "false"}, Case{"false && 1 + true == 2", "false"},
                      Case{"true || context.none", "true"}, Case{"false || true && false", "false"}, Case{"!true", "false"},
                      Case{"!!true", "true"}, Case{"if context.consent then 1 else context.none", "1"},
                      Case{"if 1 == 2 then 1 else 2", "2"}, Case{"1 == true", "false"}, Case{"1 != true", "true"},
                      Case{"\"a\" == \"a\"", "true"}, Case{"[1, 2] == [2, 1, 1]", "true"},
                      Case{"{a: 1} == {\"a\": 1}", "true"}, Case{"User::\"a\" == User::\"a\"", "true"},
                      Case{"User::\"a\" == Group::\"a\"", "false"}, Case{"1 + 2 * 3 - 4", "3"}, Case{"-context.n", "-7"},
                      Case{"--7", "7"}, Case{"2 - -2", "4"}, Case{"-9223372036854775808 < 0", "true"}, Case{"1 < 2", "true"},
                      Case{"2 <= 2", "true"}, Case{"1 > 2", "false"}, Case{"2 >= 3", "false"},
                      Case{"(1 < 2) == true", "true"}));

INSTANTIATE_TEST_SUITE_P(
    Attributes, Evaluates,
    ::testing::Values(Case{"principal.age", "40"}, Case{"principal.boss.age", "50"},
                      Case{"principal[\"home\"].city[\"name\"]", "\"Utrecht\""},
                      Case{"principal has home.city.name", "true"}, Case{"principal has home.street.name", "false"},
                      Case{"principal has \"age\"", "true"}, Case{"User::\"nobody\" has age", "false"},
                      Case{"context has consent", "true"}, Case{"principal.hasTag(\"ward\")", "true"},
                      Case{"principal.getTag(\"ward\")", "\"B2\""}, Case{"User::\"nobody\".hasTag(\"x\")", "false"},
                      Case{"principal in Group::\"all\"", "true"},
                      Case{"principal in [Group::\"x\", Group::\"staff\"]", "true"}, Case{"principal in []", "false"},
                      Case{"principal in principal", "true"}, Case{"User::\"nobody\" in User::\"nobody\"", "true"},
                      Case{"principal.boss in Group::\"all\"", "false"}, Case{"principal is User", "true"},
                      Case{"principal is Group", "false"}, Case{"principal is User in Group::\"staff\"", "true"},
                      Case{"principal is Group in 1", "false"}));

INSTANTIATE_TEST_SUITE_P(
    SetsAndText, Evaluates,
    ::testing::Values(Case{"principal.set", "[1, 2, 3]"}, Case{"principal.set.contains(2)", "true"},
                      Case{"[1, \"a\"].contains(true)", "false"}, Case{"[1, 2, 3].containsAll([3, 1])", "true"},
                      Case{"[1].containsAll([])", "true"}, Case{"[1].containsAny([2, 3])", "false"},
                      Case{"[1, 2].containsAny([2, 3])", "true"}, Case{"[].isEmpty()", "true"},
                      Case{"\"abc\" like \"a*c\"", "true"}, Case{"\"abc\" like \"a*b\"", "false"},
                      Case{"\"abc\" like \"*\"", "true"}, Case{"\"\" like \"*\"", "true"}, Case{"\"\" like \"\"", "true"},
                      Case{"\"aba\" like \"ab*ba\"", "false"}, Case{"\"abcabc\" like \"*bc*bc\"", "true"},
                      Case{"context.text like \"a\\*b\"", "true"}, Case{"\"axb\" like \"a\\*b\"", "false"},
                      Case{R"("\u{41}\x42\n" == "AB\n")", "true"}));

INSTANTIATE_TEST_SUITE_P(
    Extensions, Evaluates,
    ::testing::Values(
        Case{"principal.ip.isInRange(ip(\"10.0.0.0/8\"))", "true"},
        Case{"ip(\"10.0.0.0/8\").isInRange(ip(\"10.0.0.0/24\"))", "false"}, Case{"ip(\"::1\").isLoopback()", "true"},
        Case{"ip(\"127.0.0.0/7\").isLoopback()", "false"}, Case{"ip(\"ff02::1\").isMulticast()", "true"},
        Case{"ip(\"::1\").isIpv6() && !ip(\"::1\").isIpv4()", "true"}, Case{"ip(\"1.2.3.4\") == ip(\"1.2.3.4/32\")", "true"},
        Case{"ip(\"1.2.3.4/24\") == ip(\"1.2.3.0/24\")", "false"}, Case{"ip(\"::1\").isInRange(ip(\"0.0.0.0/0\"))", "false"},
        Case{"decimal(\"1.5\").lessThan(decimal(\"1.51\"))", "true"}, Case{"decimal(\"1.0\") == decimal(\"1.00\")", "true"},
        Case{"decimal(\"-0.5\").greaterThanOrEqual(decimal(\"0.0\"))", "false"},
        Case{"decimal(\"-922337203685477.5808\")", "decimal(\"-922337203685477.5808\")"},
        Case{"datetime(\"2024-02-29\") < datetime(\"2024-02-29T00:00:00.001Z\")", "true"},
        Case{"datetime(\"2024-01-01T01:00:00+0100\") == datetime(\"2024-01-01\")", "true"},
        Case{"datetime(\"1970-01-02\").durationSince(datetime(\"1970-01-01\")).toHours()", "24"},
        Case{"datetime(\"1969-12-31T23:00:00Z\").toDate() == datetime(\"1969-12-31\")", "true"},
        Case{"datetime(\"1969-12-31T23:00:00Z\").toTime() == duration(\"23h\")", "true"},
        Case{"datetime(\"2024-01-01\").offset(duration(\"-1d\")) == datetime(\"2023-12-31\")", "true"},
        Case{"duration(\"1d2h3m4s5ms\").toMilliseconds()", "93784005"}, Case{"duration(\"-90s\").toMinutes()", "-1"},
        Case{"duration(\"1h\") > duration(\"59m\")", "true"}));

class Fails : public ::testing::TestWithParam<Case> {};

TEST_P(Fails, WithPlaceAndReason) {
  EXPECT_THAT(value_of(GetParam().expression), HasSubstr(GetParam().value)) << GetParam().expression;
}

INSTANTIATE_TEST_SUITE_P(
    Evaluation, Fails,
    ::testing::Values(
        Case{"context.none", "error: p.cedar:2:8: `context` has no attribute \"none\""},
        Case{"true && context.none", "error: p.cedar:2:16: `context` has no attribute"},
        Case{"true && 1", "error: p.cedar:2:16: `1` should be of type bool and is of type long"},
        Case{"1 || true", "error: p.cedar:2:8"}, Case{"!1", "error: p.cedar:2:9"},
        Case{"if 1 then 2 else 3", "error: p.cedar:2:11"}, Case{"1 + \"a\"", "error: p.cedar:2:12"},
        Case{"9223372036854775807 + 1", "error: p.cedar:2:8: the result does not fit in 64 bits"},
        Case{"-9223372036854775808 - 1", "64 bits"}, Case{"9223372036854775807 * 2", "64 bits"},
        Case{"--9223372036854775808", "64 bits"}, Case{"1 < \"a\"", "`\"a\"` should be of type long"},
        Case{"\"a\" < \"b\"", "should be of type long, datetime or duration"},
        Case{"decimal(\"1.0\") < decimal(\"2.0\")", "should be of type long, datetime or duration"},
        Case{"1 in principal", "should be of type entity"},
        Case{"principal in 1", "should be of type entity or a set of entities"},
        Case{"principal in [principal, 1]", "set of entities only"}, Case{"1 is User", "should be of type entity"},
        Case{"1 has a", "record or entity"}, Case{"1 like \"*\"", "should be of type string"},
        Case{"User::\"nobody\".age", "the entity User::\"nobody\" is not known"},
        Case{"principal.getTag(\"x\")", "no tag \"x\""}, Case{"principal.hasTag(1)", "should be of type string"},
        Case{"1.contains(1)", "should be of type set"}, Case{"[1].containsAll(1)", "should be of type set"},
        Case{"[1].contains()", "contains takes 1"}, Case{"ip(\"1.2.3\")", "is no ip address"},
        Case{"ip(\"1.2.3.4/33\")", "is no ip"}, Case{"ip(\"1.2.3.4/08\")", "is no ip"},
        Case{"ip(\"::ffff:1.2.3.4\")", "is no ip"}, Case{"ip(1)", "expected a value of type string"},
        Case{"ip()", "takes 1 values"}, Case{"decimal(\"1\")", "is no decimal"},
        Case{"decimal(\"1.00000\")", "is no decimal"}, Case{"decimal(\"922337203685477.5808\")", "is no decimal"},
        Case{"datetime(\"2023-02-29\")", "is no datetime"}, Case{"datetime(\"2023-01-01T24:00:00Z\")", "is no datetime"},
        Case{"datetime(\"2023-01-01T10:00:00\")", "is no datetime"}, Case{"duration(\"\")", "is no duration"},
        Case{"duration(\"1h1d\")", "is no duration"}, Case{"duration(\"1\")", "is no duration"},
        Case{"duration(\"106751991168d\")", "is no duration"},
        Case{"principal.age.isIpv4()", "expected a value of type ipaddr"},
        Case{"datetime(\"9999-12-31\").offset(duration(\"9223372036854775807ms\"))", "64 bits"}));

TEST(Entities, RefuseWhatCedarRefuses) {
  const auto message = [](std::string_view json) {
    const auto entities = Entities::parse(json, "e.json");
    return entities ? "read" : entities.error().text();
  };
  EXPECT_THAT(message("[{\"uid\": 1}]"), HasSubstr("e.json: entity 0.uid: not an entity"));
  EXPECT_THAT(message("[{}]"), HasSubstr("needs a uid"));
  EXPECT_THAT(message("{}"), HasSubstr("not a list of entities"));
  EXPECT_THAT(message("[\n{,}]"), HasSubstr("e.json:2:2: not valid JSON"));
  EXPECT_THAT(message("[] []"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("["), HasSubstr("not valid JSON"));
  EXPECT_THAT(message(R"([{"uid": {"type":"A","id":"x"}, "attrs": {"f": 1.5}}])"),
              HasSubstr("e.json: A::\"x\".attrs.f: not a whole number"));
  EXPECT_THAT(message(R"([{"uid": {"type":"A","id":"x"}, "attrs": {"f": null}}])"), HasSubstr("null is not a value"));
  EXPECT_THAT(message(R"([{"uid": {"type":"A","id":"x"}, "attrs": {"f": {"__extn": {"fn": "ip", "arg": "x"}}}}])"),
              HasSubstr("is no ip"));
  EXPECT_THAT(message(R"([{"uid": {"type":"A","id":"x"}}, {"uid": {"type":"A","id":"x"}}])"), HasSubstr("stands twice"));
  EXPECT_THAT(message(R"([{"uid": {"type":"A","id":"x"}, "parents": [{"type":"A","id":"y"}]},
                          {"uid": {"type":"A","id":"y"}, "parents": [{"type":"A","id":"x"}]}])"),
              HasSubstr("is its own ancestor"));
  EXPECT_THAT(message(std::string(100'000, '[')), HasSubstr("not valid JSON"));
}

}  // namespace
}  // namespace epif::policy
