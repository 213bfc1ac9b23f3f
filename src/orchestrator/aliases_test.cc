#include "orchestrator/aliases.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace epif::orchestrator {
namespace {

const Cidr range = *Cidr::parse("198.18.0.0/15");
const ResourceSet nobody;
constexpr auto endpoint = Role::endpoint;
constexpr std::chrono::sys_seconds now{std::chrono::seconds(1'795'000'000)};

IpAddress at(std::string_view text) { return *IpAddress::parse(text); }
ToldAliases told(std::vector<ToldAlias> aliases) { return {{"umc/modality", {4, std::move(aliases), Role::endpoint}}}; }
/// What one client after another is given.
struct Book : AliasBook {
  using AliasBook::AliasBook;
  std::optional<IpAddress> take(const std::string& hostname) {
    return AliasBook::take({{"send", "umc/modality", hostname}}) ? given(hostname) : std::nullopt;
  }
  std::string refusal(std::vector<AliasWish> wishes) {
    const auto taken = AliasBook::take(wishes);
    return taken ? "" : taken.error().text();
  }
};
Book book(const ToldAliases& known, const Cidr& of = range, const ResourceSet& resources = nobody) { return {of, known, resources, now}; }

TEST(Aliases, a_name_keeps_its_address_whatever_comes_and_goes) {
  const auto first = book({}).take("pacs.research");
  ASSERT_TRUE(first);
  EXPECT_TRUE(range.contains(*first));
  EXPECT_EQ(book({}).take("pacs.research"), first) << "nothing depends on who asks first";
  auto later = book(told({{"archive.vendor", *first}}));
  EXPECT_NE(later.take("pacs.research"), first) << "what was assigned before counts";
  EXPECT_EQ(later.take("archive.vendor"), first);
}

TEST(Aliases, no_two_names_share_an_address_and_a_full_range_is_an_answer) {
  auto all = book({}, Cidr::parse("10.9.0.0/28").value());
  std::set<IpAddress> seen;
  for (int i = 0; i < 14; ++i) {
    const auto alias = all.take(fmt::format("node-{}", i));
    ASSERT_TRUE(alias);
    EXPECT_TRUE(seen.insert(*alias).second) << alias->text();
  }
  EXPECT_EQ(seen.begin()->text(), "10.9.0.1");
  EXPECT_EQ(seen.rbegin()->text(), "10.9.0.14");
  EXPECT_EQ(all.refusal({{"send", "umc/modality", "one-more"}}),
            "flow send: no alias is left for one-more: of the 14 addresses of 10.9.0.0/28, 14 are in use and 0 rest; "
            "run the orchestrator with a wider --alias-range");
  EXPECT_TRUE(all.take("node-3"));
}

TEST(Aliases, a_range_in_which_addresses_mean_more_than_a_machine_is_refused) {
  for (const auto* good : {"198.18.0.0/15", "10.0.0.0/8", "100.64.0.0/10", "169.253.0.0/16", "223.255.255.252/30", "240.0.0.0/16"}) {
    const auto made = parse_alias_range(good);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->text(), good);
  }
  for (const auto* bad :
       {"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "0.1.0.0/16", "127.0.0.0/8", "127.5.0.0/16", "126.0.0.0/7", "169.254.0.0/16",
        "169.254.7.0/24", "169.254.0.0/15", "224.0.0.0/4", "239.1.0.0/16", "255.255.255.252/30", "240.0.0.0/4", "::/0", "fe80::/10",
        "ff00::/8", "::1/128", "fd00::/8", "::ffff:127.0.0.0/104", "198.18.0.1/32", "198.18.0.0/31", "198.18.0.1/15", "x", ""}) {
    const auto made = parse_alias_range(bad);
    ASSERT_FALSE(made) << bad;
    EXPECT_EQ(made.error().code, Code::usage) << bad;
    EXPECT_NE(made.error().text().find("--alias-range"), std::string::npos) << made.error().text();
  }
  EXPECT_NE(parse_alias_range("127.0.0.0/8").error().text().find("holds addresses of loopback"), std::string::npos);
}

TEST(Aliases, a_machines_address_is_never_given_but_the_range_stays_and_names_keep_theirs) {
  const auto alias = book({}).take("y");
  ASSERT_TRUE(alias);
  ResourceSet resources;
  resources.nodes["b/x"].addresses = {*alias};
  EXPECT_EQ(book(told({{"y", *alias}}), range, resources).take("y"), alias) << "what programs have been told keeps its meaning";
  const auto another = book({}, range, resources).take("y");
  ASSERT_TRUE(another);
  EXPECT_NE(another, alias);
  EXPECT_NE(alias_clash("b/x", resources.nodes["b/x"], range).find("b/x has the address " + alias->text()), std::string::npos);
  EXPECT_EQ(alias_clash("b/x", resources.nodes["b/x"], {}), "");
  EXPECT_EQ(alias_clash("b/x", resources.nodes["b/x"], Cidr::parse("10.9.0.0/16").value()), "");
}

TEST(Aliases, an_address_that_may_be_cached_is_no_other_names_and_then_the_last_to_be_given) {
  const auto small = Cidr::parse("10.9.0.0/29").value();  // six to give
  const auto hour = std::chrono::hours(1);
  const std::vector<ToldAlias> all{{"a", at("10.9.0.1"), 3, now - 2 * hour}, {"b", at("10.9.0.2"), 4},
                                   {"c", at("10.9.0.3"), 4, now + hour},     {"d", at("10.9.0.4")},
                                   {"e", at("10.9.0.5"), 2, now - 3 * hour}};
  EXPECT_EQ(book(told(all), small).take("b")->text(), "10.9.0.2") << "its own, which programs know as its";
  EXPECT_EQ(book(told(all), small).take("e")->text(), "10.9.0.5");
  auto next = book(told(all), small);
  EXPECT_EQ(next.take("new")->text(), "10.9.0.6") << "which nobody had";
  EXPECT_EQ(next.take("newer")->text(), "10.9.0.5") << "which rested longest";
  EXPECT_EQ(next.take("newest")->text(), "10.9.0.1");
  EXPECT_FALSE(next.take("none left")) << "what rests or is in use is nobody's";
  // What another client may have cached counts as well.
  auto others = told({{"a", at("10.9.0.1"), 3, now - 2 * hour}});
  others["umc/other"] = {9, {{"a", at("10.9.0.1"), 9}}};
  auto spread = book(others, Cidr::parse("10.9.0.0/30").value());
  EXPECT_EQ(spread.take("x")->text(), "10.9.0.2");
  EXPECT_FALSE(spread.take("y"));
}

TEST(Aliases, whoever_gets_none_hears_until_when_and_takes_none_from_others) {
  const auto small = Cidr::parse("10.9.0.0/29").value();
  const std::vector<ToldAlias> all{{"a", at("10.9.0.1")},
                                   {"b", at("10.9.0.2"), 4},
                                   {"c", at("10.9.0.3"), 4, now + std::chrono::minutes(50)},
                                   {"d", at("10.9.0.4"), 4, now + std::chrono::minutes(30)}};
  auto next = book(told(all), small);
  EXPECT_EQ(next.refusal({{"one", "umc/modality", "x"}, {"two", "umc/modality", "y"}, {"three", "umc/modality", "z"}}),
            "flow three: no alias is left for z: of the 6 addresses of 10.9.0.0/29, 3 are in use and 3 rest; "
            "run the orchestrator with a wider --alias-range, or wait: one is free at 2026-11-18T11:36:40Z at the latest");
  EXPECT_FALSE(next.given("x"));
  EXPECT_EQ(next.refusal({{"one", "umc/modality", "z"}, {"two", "umc/other", "z"}, {"three", "umc/modality", "b"}}), "");
  EXPECT_EQ(next.given("b")->text(), "10.9.0.2");
  EXPECT_TRUE(next.take("y"));
  EXPECT_NE(next.given("y"), next.given("z"));
  EXPECT_FALSE(next.take("x"));
}

TEST(Aliases, who_gets_one_does_not_depend_on_the_order) {
  // `b` rests as its own, and had another one that all may have: it leaves that to `x`.
  const std::vector<ToldAlias> all{{"b", at("10.9.0.1"), 2, now - alias_rest}, {"b", at("10.9.0.2"), 4}};
  for (const bool b_first : {true, false}) {
    auto next = book(told(all), Cidr::parse("10.9.0.0/30").value());
    EXPECT_TRUE(next.take(b_first ? "b" : "x"));
    EXPECT_TRUE(next.take(b_first ? "x" : "b"));
    EXPECT_EQ(next.given("b")->text(), "10.9.0.2");
  }
}

TEST(Aliases, a_rest_begins_when_the_agent_has_put_the_end_in_place_and_lasts_longer_than_an_answer) {
  Assignment assignment;
  assignment.node = "umc/modality";
  assignment.aliases = {{"a", at("198.18.0.1")}, {"b", at("198.18.0.2")}};
  const auto note = [&](std::uint64_t generation, std::uint64_t in_place, std::chrono::sys_seconds when) {
    ToldAliases known;
    note_aliases(assignment, generation, in_place, when, range, known);
    return known.at("umc/modality");
  };
  assignment.aliases = told_next(note(4, 4, now), endpoint, {{"a", at("198.18.0.1")}}, now);
  EXPECT_EQ(assignment.aliases, (std::vector<ToldAlias>{{"a", at("198.18.0.1")}, {"b", at("198.18.0.2"), 5}}));
  // However late: the agent was away, and its redirector went on to answer.
  const auto late = now + std::chrono::hours(48);
  EXPECT_TRUE(rests(note(5, 4, late).aliases[1], late));
  EXPECT_EQ(told_next(note(5, 4, late), endpoint, {{"a", at("198.18.0.1")}}, late), assignment.aliases);
  assignment.aliases = told_next(note(5, 5, late), endpoint, {{"a", at("198.18.0.1")}}, late);
  EXPECT_EQ(assignment.aliases[1], (ToldAlias{"b", at("198.18.0.2"), 5, late + alias_rest}));
  EXPECT_TRUE(rests(assignment.aliases[1], late + std::chrono::minutes(59)));
  EXPECT_FALSE(rests(assignment.aliases[1], late + alias_rest));
  const std::vector<ToldAlias> again{{"a", at("198.18.0.1"), 7}, {"b", at("198.18.0.2")}};
  EXPECT_EQ(told_next(note(6, 6, late), endpoint, {{"b", at("198.18.0.2")}}, late), again);
}

TEST(Aliases, what_an_absent_node_was_told_is_no_other_names_anywhere_until_its_agent_is_back) {
  const auto small = Cidr::parse("10.9.0.0/30").value();
  auto known = told({{"old", at("10.9.0.1"), 4}});
  known["umc/other"] = {2, {{"a", at("10.9.0.2")}}, Role::endpoint};
  const auto years = now + std::chrono::years(10);
  const auto at_time = [&](std::chrono::sys_seconds when) { return Book(small, known, nobody, when); };
  const std::string no_alias = "flow send: no alias is left for new: of the 2 addresses of 10.9.0.0/30, 1 are in use and 1 rest; "
                               "run the orchestrator with a wider --alias-range, or wait: one is free ";
  for (const auto* client : {"umc/modality", "umc/other", "umc/third"}) {
    EXPECT_EQ(at_time(years).refusal({{"send", client, "new"}}), no_alias + "an hour after the agent of umc/modality is back") << client;
    EXPECT_EQ(at_time(years).refusal({{"send", client, "old"}}), "") << "its own";
  }
  known["umc/removed"] = {7, {{"old", at("10.9.0.1"), 7}}};
  const std::string both = "the agent of umc/modality is back and an hour after umc/removed is a node again and its agent is back";
  EXPECT_EQ(at_time(years).refusal({{"send", "umc/other", "new"}}), no_alias + "an hour after " + both);
  known["umc/modality"].aliases[0].until = years - alias_rest;
  known["umc/removed"].aliases[0].until = years;
  auto last = at_time(years - std::chrono::seconds(1));
  EXPECT_EQ(last.refusal({{"send", "umc/other", "new"}}), no_alias + "at 2036-11-17T21:18:40Z at the latest");
  EXPECT_EQ(at_time(years).refusal({{"send", "umc/other", "new"}}), "");
}

TEST(Aliases, what_another_version_told_two_names_leads_to_one_at_each_client) {
  auto known = told({{"old", at("10.9.0.1"), 4}});
  known["umc/other"] = {2, {{"new", at("10.9.0.1")}}, Role::endpoint};
  auto both = book(known, Cidr::parse("10.9.0.0/30").value());
  EXPECT_EQ(both.refusal({{"send", "umc/other", "new"}}), "");
  EXPECT_EQ(both.refusal({{"send", "umc/modality", "new"}}),
            "flow send: new has the alias 10.9.0.1: programs of umc/modality may still have that for old; "
            "wait: it is free there an hour after the agent of umc/modality is back");
}

TEST(Aliases, what_a_node_was_told_is_awaited_until_its_agent_reports) {
  Assignment assignment;
  assignment.node = "umc/modality";
  assignment.aliases = {{"a", at("198.18.0.1"), 5}, {"b", at("198.18.0.2"), 5, now}};
  ToldAliases known;
  note_aliases(assignment, 5, 4, now, range, known);
  EXPECT_EQ(known.at("umc/modality").aliases, assignment.aliases);
  EXPECT_EQ(told_next(known.at("umc/modality"), endpoint, {}, now), assignment.aliases);
  note_aliases("umc/modality", assignment.aliases, 5, known);
  EXPECT_EQ(known.at("umc/modality").aliases, assignment.aliases);
}

TEST(Aliases, what_was_told_before_a_proxy_had_the_nodes_name_is_awaited_anew) {
  Assignment assignment;
  assignment.node = "umc/modality";
  assignment.aliases = {{"a", at("198.18.0.1")}};
  std::uint64_t generation = 4;
  /// The next Assignment, where the agent reports each.
  const auto next = [&](std::optional<Role> role) {
    ToldAliases known;
    note_aliases(assignment, generation, generation, now, range, known);
    assignment.aliases = told_next(known.at("umc/modality"), role, {}, now);
    assignment.role = role.value_or(endpoint);
    ++generation;
    return assignment.aliases.at(0);
  };
  EXPECT_EQ(next(Role::proxy), (ToldAlias{"a", at("198.18.0.1"), 5}));
  EXPECT_EQ(next(Role::proxy), (ToldAlias{"a", at("198.18.0.1"), 5})) << "nothing to say anew";
  EXPECT_EQ(next(Role::endpoint), (ToldAlias{"a", at("198.18.0.1"), 7})) << "the proxy's report of 6 says nothing of the redirector";
  EXPECT_EQ(next(Role::endpoint), (ToldAlias{"a", at("198.18.0.1"), 7, now + alias_rest}));

  ToldAliases removed;
  note_aliases("umc/modality", {{"a", at("198.18.0.1"), 5}, {"b", at("198.18.0.2"), 5, now}}, 6, removed);
  const std::vector<ToldAlias> again{{"a", at("198.18.0.1"), 7}, {"b", at("198.18.0.2"), 5, now}};
  EXPECT_EQ(told_next(removed.at("umc/modality"), endpoint, {}, now), again);
}

TEST(Aliases, what_is_next_to_an_alias_of_an_earlier_range_is_refused_with_its_own_reason) {
  const std::vector<ToldAlias> all{
      {"a", at("10.9.0.2"), 4}, {"b", at("10.9.0.3"), 4}, {"c", at("10.9.0.7"), 4}, {"d", at("198.18.0.1"), 4}};
  std::map<std::string, std::string> refused;
  for (const auto& one : resting_refusals(all, range, now)) {
    EXPECT_TRUE(refused.emplace(one.destination.text(), one.reason).second) << one.destination.text();
  }
  const std::string until = " had this address until its flow ended: ask for the name again";
  const std::string beside = "next to an address of an earlier alias range, refused until that is let go";
  const std::map<std::string, std::string> wanted{{"10.9.0.2/32", "a" + until}, {"10.9.0.3/32", "b" + until},    {"10.9.0.2/31", beside},
                                                  {"10.9.0.7/32", "c" + until}, {"198.18.0.1/32", "d" + until}, {"10.9.0.6/31", beside}};
  EXPECT_EQ(refused, wanted);
}

TEST(Aliases, a_client_that_remembers_all_it_can_gets_no_more_and_forgets_none) {
  std::vector<ToldAlias> all;
  for (std::size_t i = 0; i < told_aliases_max; ++i) {
    all.push_back({fmt::format("node-{}", i), at(fmt::format("198.18.{}.{}", i / 256, i % 256)), 4});
  }
  all.front().until = now + alias_rest;
  const auto known = told(all);
  auto next = book(known);
  EXPECT_EQ(next.refusal({{"send", "umc/modality", "new"}}),
            "flow send: no alias is left at umc/modality for new: 4096 are in use or rest there, and no more are remembered; "
            "wait: one is free at 2026-11-18T12:06:40Z");
  EXPECT_TRUE(next.take("node-7"));
  EXPECT_EQ(next.refusal({{"send", "umc/other", "new"}}), "");
  EXPECT_FALSE(next.take("new")) << "at another client it has one";
  EXPECT_EQ(told_next(known.at("umc/modality"), endpoint, {}, now + std::chrono::years(1)).size(), told_aliases_max);
  all.pop_back();
  const auto less = told(all);
  auto room = book(less);
  EXPECT_NE(room.refusal({{"one", "umc/modality", "x"}, {"two", "umc/modality", "y"}}), "");
  EXPECT_TRUE(room.take("y"));
  EXPECT_TRUE(room.take("y")) << "another flow to it";
  EXPECT_FALSE(room.take("x"));
}

TEST(Aliases, of_those_that_have_rested_the_newest_are_remembered) {
  Told before{7, {}};
  for (int i = 0; i < 300; ++i) {
    before.aliases.push_back({fmt::format("node-{}", i), at(fmt::format("198.18.{}.1", i % 256)), 3, now - std::chrono::hours(i)});
  }
  const auto next = told_next(before, endpoint, {}, now);
  EXPECT_EQ(next.size(), rested_aliases_kept);
  EXPECT_TRUE(std::ranges::all_of(next, [](const auto& one) { return one.until > now - std::chrono::hours(256); }));
}

TEST(Aliases, what_an_older_program_assigned_is_read_from_its_routes) {
  Assignment assignment;
  assignment.node = "umc/modality";
  for (const auto* destination : {"198.18.0.7:80", "198.18.0.8:80", "10.2.0.1:80"}) {
    auto& route = assignment.routes.routes.emplace_back();
    route.destination = *CaptureTarget::parse(destination);
    route.name = destination;
  }
  ToldAliases known;
  note_aliases(assignment, 1, 1, now, range, known);
  const std::vector<ToldAlias> read{{"198.18.0.7:80", at("198.18.0.7")}, {"198.18.0.8:80", at("198.18.0.8")}};
  EXPECT_EQ(known.at("umc/modality").aliases, read);
}

TEST(Aliases, a_name_of_two_nodes_has_none) {
  ResourceSet resources;
  resources.nodes["a/x"].hostname = resources.nodes["b/x"].hostname = "x";
  EXPECT_TRUE(book({}, range, resources).is_ambiguous("X."));
  EXPECT_FALSE(book({}, range, resources).is_ambiguous("y"));
}

}  // namespace
}  // namespace epif::orchestrator
