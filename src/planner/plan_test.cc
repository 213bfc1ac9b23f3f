#include "planner/plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "model/document.h"

namespace epif::planner {
namespace {

//   client (x, proxy p) ---- p ---- q ---- server (y, proxy q)          lone (z, no proxy)
constexpr std::string_view world = R"(
kind: ProxyNode
metadata: {name: p, domain: x}
spec: {rtt: {client: 1ms, q: 10ms}}
---
kind: ProxyNode
metadata: {name: q, domain: y}
spec: {rtt: {server: 2ms}}
---
kind: Node
metadata: {name: client, domain: x}
spec: {attributes: [a, b], proxy: p}
---
kind: Node
metadata: {name: server, domain: y}
spec: {attributes: [c], proxy: q}
---
kind: Node
metadata: {name: lone, domain: z}
spec: {}
---
kind: BridgingFunction
metadata: {name: fa}
spec: {provides: [a]}
---
kind: BridgingFunction
metadata: {name: fb}
spec: {provides: [b], place: source}
---
kind: BridgingFunction
metadata: {name: fc}
spec: {provides: [c], pair: fc2}
---
kind: BridgingFunction
metadata: {name: fc2}
spec: {}
---
)";

ResourceSet parse(std::string_view more) {
  const auto resources = parse_resources(std::string(world) + std::string(more), "w.yaml");
  EXPECT_TRUE(resources) << resources.error().text();
  ResourceSet set;
  for (const auto& resource : *resources) EXPECT_TRUE(set.add(resource));
  return set;
}

std::string application(std::string_view flows, std::string_view name = "app", std::string_view purpose = "research") {
  return fmt::format("kind: Application\nmetadata: {{name: {}}}\nspec:\n  purpose: {}\n  flows:\n{}\n---\n", name, purpose,
                     flows);
}

Plan plan_of(std::string_view more, const PlanOptions& options = {}) {
  auto made = plan(parse(more), options);
  EXPECT_TRUE(made) << made.error().text();
  return made ? std::move(*made) : Plan{};
}

Error error_of(std::string_view more, const PlanOptions& options = {}) {
  auto made = plan(parse(more), options);
  EXPECT_FALSE(made);
  return made ? Error{} : made.error();
}

std::vector<std::string> chain_of(const std::vector<PlacedFunction>& chain) {
  std::vector<std::string> words;
  for (const auto& placed : chain) words.push_back(placed.function + "@" + placed.proxy);
  return words;
}

using Words = std::vector<std::string>;

TEST(Plan, AreasAreOrderedAndChannelsFollowEq4) {
  const auto made = plan_of("");
  ASSERT_EQ(made.areas.size(), 3u);
  EXPECT_EQ(made.areas[0].nodes, Words{"z/lone"});
  EXPECT_EQ(made.areas[1].attributes, (Words{"a", "b"}));
  EXPECT_EQ(made.areas[2].attributes, Words{"c"});
  ASSERT_EQ(made.channels.size(), 2u);
  EXPECT_EQ(made.channels[0].to, 1u);
  EXPECT_EQ(made.channels[1].to, 2u);
  EXPECT_TRUE(made.all_possible());
}

TEST(Plan, APushIsBridgedAtItsSourceAndAPairSpansBothProxies) {
  const auto made =
      plan_of(application("  - {name: f, from: x/client, to: y/server, port: 80, data: push}\n"
                          "  - {name: g, from: x/client, to: y/server, port: 81, data: pull}"));
  ASSERT_EQ(made.flows.size(), 2u);
  EXPECT_EQ(made.flows[0].verdict, Verdict::bridged);
  EXPECT_EQ(made.flows[0].gap, (AttributeSet{"a", "b"}));
  EXPECT_EQ(chain_of(made.flows[0].chain), (Words{"fa@x/p", "fb@x/p"}));
  EXPECT_EQ(made.flows[0].proxies, Words{"x/p"});
  // The pull's data starts at the server: the first half is there, and the chain is printed from the client's end.
  EXPECT_EQ(chain_of(made.flows[1].chain), (Words{"fc2@x/p", "fc@y/q"}));
  EXPECT_EQ(made.flows[1].proxies, (Words{"x/p", "y/q"}));
  // Eq. 9 without server and proxy times: 3 RTT_CP + 2 RTT_PS; the server is 10 + 2 ms behind the first proxy.
  EXPECT_DOUBLE_EQ(made.flows[1].predicted_setup_ms, 3 * 1 + 2 * 12);
  EXPECT_DOUBLE_EQ(made.flows[1].floor_ms, 13);
  EXPECT_EQ(made.flows[0].method, Method::socks6);
}

TEST(Plan, BothDirectionsAreJudgedAloneAndInstalledAsOneChain) {
  const auto made = plan_of(application("  - {name: f, from: x/client, to: y/server, port: 80}"));
  ASSERT_EQ(made.flows.size(), 2u);
  EXPECT_EQ(made.flows[0].direction, DataDirection::push);
  EXPECT_EQ(made.flows[1].direction, DataDirection::pull);
  ASSERT_EQ(made.installs.size(), 1u);
  EXPECT_TRUE(made.installs[0].feasible);
  EXPECT_EQ(chain_of(made.installs[0].chain), (Words{"fa@x/p", "fb@x/p", "fc@x/p", "fc2@y/q"}));
}

TEST(Plan, AFunctionForTheSourceStandsAtBothEndsIfBothDirectionsNeedIt) {
  const auto made = plan_of(
      "kind: Node\nmetadata: {name: s2, domain: y}\nspec: {attributes: [d], proxy: q}\n---\n"
      "kind: Node\nmetadata: {name: c2, domain: x}\nspec: {attributes: [e], proxy: p}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: de}\nspec: {provides: [d, e], place: source}\n---\n" +
      application("  - {name: f, from: x/c2, to: y/s2, port: 80}"));
  EXPECT_EQ(chain_of(made.flows[0].chain), Words{"de@x/p"});
  EXPECT_EQ(chain_of(made.flows[1].chain), Words{"de@y/q"});
  EXPECT_EQ(chain_of(made.installs[0].chain), (Words{"de@x/p", "de@y/q"}));
}

TEST(Plan, OneUnfeasibleDirectionStopsTheInstallAndCountsByItself) {
  const auto made =
      plan_of("kind: Node\nmetadata: {name: odd, domain: x}\nspec: {attributes: [a, secret], proxy: p}\n---\n" +
              application("  - {name: f, from: y/server, to: x/odd, port: 80}"));
  EXPECT_EQ(made.flows[0].verdict, Verdict::bridged);
  EXPECT_EQ(made.flows[1].verdict, Verdict::unfeasible);
  EXPECT_EQ(made.flows[1].missing, AttributeSet{"secret"});
  EXPECT_NE(made.flows[1].reason.find("no bridging function provides it"), std::string::npos);
  EXPECT_FALSE(made.installs[0].feasible);
  EXPECT_TRUE(made.installs[0].chain.empty());
  EXPECT_DOUBLE_EQ(made.unfeasibility_ratio, 0.5);
  EXPECT_FALSE(made.all_possible());
}

TEST(Plan, UnfeasibleNamesThePairAndTheLackingProxy) {
  const auto made = plan_of(application("  - {name: f, from: y/server, to: z/lone, port: 80, data: push}"));
  EXPECT_EQ(made.flows[0].missing, AttributeSet{"c"});
  EXPECT_NE(made.flows[0].reason.find("'fc' with 'fc2' is a pair and needs a proxy at each end, but z/lone has no proxy"),
            std::string::npos)
      << made.flows[0].reason;
}

TEST(Plan, WithoutAnyProxyASupportedFlowIsDirect) {
  const auto made = plan_of("kind: Node\nmetadata: {name: other, domain: z}\nspec: {}\n---\n" +
                            application("  - {name: f, from: z/lone, to: z/other, port: 80}"));
  EXPECT_EQ(made.flows[0].verdict, Verdict::supported);
  EXPECT_EQ(made.flows[0].method, Method::direct);
  EXPECT_TRUE(made.flows[0].proxies.empty());
}

TEST(Plan, TableTwoChoosesTheMethodAndNginxNeverCarriesAChain) {
  const auto made =
      plan_of(application("  - {name: quick, from: z/lone, to: y/server, port: 80, data: push, profile: time-critical}\n"
                          "  - {name: bulk, from: z/lone, to: y/server, port: 81, data: push, profile: bulk}\n"
                          "  - {name: chained, from: x/client, to: y/server, port: 82, data: push, profile: time-critical}\n"
                          "  - {name: asked, from: x/client, to: y/server, port: 83, data: push, method: nginx}\n"
                          "  - {name: five, from: x/client, to: y/server, port: 84, data: push, method: socks5}"));
  EXPECT_EQ(made.installs[0].method, Method::nginx);
  EXPECT_EQ(made.installs[1].method, Method::socks6);
  EXPECT_EQ(made.installs[2].method, Method::socks6);
  EXPECT_EQ(made.installs[3].method, Method::socks6);
  EXPECT_NE(made.installs[3].reason.find("nginx carries no chain"), std::string::npos);
  EXPECT_EQ(made.installs[4].method, Method::socks5);
  EXPECT_DOUBLE_EQ(made.installs[4].predicted_setup_ms, 4 * 1 + 2 * 12);
}

TEST(Plan, HttpGoesByNginxAndWhatNginxCannotKeepGoesBySocks) {
  const auto addresses = [](std::string_view name, std::string_view domain, std::string_view list) {
    return fmt::format("kind: Node\nmetadata: {{name: {}, domain: {}}}\nspec: {{addresses: [{}]}}\n---\n", name, domain, list);
  };
  const auto made = plan_of(
      addresses("four", "z", "10.9.0.1") + addresses("both", "z", "10.9.0.2, \"fd09::2\"") +
      "kind: ProxyNode\nmetadata: {name: r, domain: w}\nspec: {addresses: [10.8.0.2]}\n---\n"
      "kind: Node\nmetadata: {name: web, domain: w}\nspec: {addresses: [10.8.0.10], proxy: r}\n---\n"
      "kind: Node\nmetadata: {name: six, domain: w}\nspec: {addresses: [10.8.0.11, \"fd08::11\"], proxy: r}\n---\n" +
      application("  - {name: web, from: z/four, to: w/web, port: 80, data: push, profile: http}\n"
                  "  - {name: one-user, from: z/four, to: w/web, port: 81, data: push, profile: http, selector: {user: alice}}\n"
                  "  - {name: no-six, from: z/four, to: w/six, port: 80, data: push, profile: time-critical}\n"
                  "  - {name: proxy-no-six, from: z/both, to: w/six, port: 80, data: push, method: nginx}\n"
                  "  - {name: general, from: z/four, to: w/web, port: 82, data: push}"));
  EXPECT_EQ(made.installs[0].method, Method::nginx);
  EXPECT_NE(made.flows[0].reason.find("nginx: HTTP and no chain to carry."), std::string::npos) << made.flows[0].reason;
  EXPECT_EQ(made.installs[1].method, Method::socks6);
  EXPECT_NE(made.installs[1].reason.find("one user or cgroup"), std::string::npos) << made.installs[1].reason;
  EXPECT_EQ(made.installs[2].method, Method::socks6);
  EXPECT_NE(made.installs[2].reason.find("z/four has no IPv6 address"), std::string::npos) << made.installs[2].reason;
  EXPECT_NE(made.installs[3].reason.find("socks6, although nginx is asked for"), std::string::npos) << made.installs[3].reason;
  EXPECT_NE(made.installs[3].reason.find("w/r has no IPv6 address"), std::string::npos) << made.installs[3].reason;
  EXPECT_EQ(made.installs[4].method, Method::socks6);
}

TEST(Plan, WhatAPolicyAsksAnAttributeForIsNotCarriedInClear) {
  PlanOptions options;
  options.policy = [](const PolicyQuery&) -> Result<PolicyDecision> { return PolicyDecision{true, {"p"}, "", {"c"}}; };
  const auto set = parse("kind: Policy\nmetadata: {name: one}\nspec: {text: \"x\"}\n---\n" +
                         application("  - {name: f, from: z/lone, to: y/server, port: 80, data: push, profile: time-critical}"));
  const auto made = plan(set, options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(made->installs[0].method, Method::socks6);
  EXPECT_NE(made->installs[0].reason.find("nginx carries in clear, and a policy asks for c"), std::string::npos) << made->installs[0].reason;
}

TEST(Plan, DatagramsGetNoChainAndShareNoPortWithTcp) {
  const auto made =
      plan_of(application("  - {name: gap, from: x/client, to: y/server, port: 53, data: push, protocol: udp}\n"
                          "  - {name: tcp, from: x/client, to: y/server, port: 53, data: push}\n"
                          "  - {name: udp, from: z/lone, to: y/server, port: 53, data: push, protocol: udp, profile: time-critical}\n"
                          "  - {name: asked, from: z/lone, to: y/server, port: 54, data: push, protocol: udp, method: nginx}"));
  EXPECT_EQ(made.flows[0].verdict, Verdict::unfeasible);
  EXPECT_EQ(made.flows[0].missing, (AttributeSet{"a", "b"}));
  EXPECT_NE(made.flows[0].reason.find("bridging functions carry byte streams only, and this flow is UDP"), std::string::npos)
      << made.flows[0].reason;
  EXPECT_FALSE(made.installs[0].feasible);
  EXPECT_TRUE(made.installs[1].feasible);
  EXPECT_TRUE(made.installs[2].feasible);
  EXPECT_EQ(made.installs[2].protocol, Protocol::udp);
  EXPECT_EQ(made.installs[2].method, Method::socks6);
  EXPECT_NE(made.installs[3].reason.find("nginx is used for TCP only"), std::string::npos);
  EXPECT_TRUE(made.conflicts.empty());
  EXPECT_NE(print_json(made).find("\"protocol\": \"udp\""), std::string::npos);
}

TEST(Plan, PoliciesDenyRequireAndAreNeverPassedOver) {
  const auto policy = std::string("kind: Policy\nmetadata: {name: one}\nspec: {text: \"x\"}\n---\n");
  const auto flows = application("  - {name: f, from: z/lone, to: y/server, port: 80, data: push}");
  EXPECT_EQ(error_of(policy + flows).code, Code::unsupported);

  PlanOptions options;
  options.policy = [](const PolicyQuery& query) -> Result<PolicyDecision> {
    EXPECT_EQ(query.source.metadata.full_name(), "z/lone");
    return PolicyDecision{false, {"no-purpose"}, "policy no-purpose forbids it", {}};
  };
  const auto denied = plan_of(policy + flows, options);
  EXPECT_EQ(denied.flows[0].verdict, Verdict::denied);
  EXPECT_EQ(denied.flows[0].reason, "policy no-purpose forbids it.");
  EXPECT_DOUBLE_EQ(denied.unfeasibility_ratio, 0);
  EXPECT_FALSE(denied.all_possible());

  options.policy = [](const PolicyQuery&) -> Result<PolicyDecision> { return PolicyDecision{true, {"ok"}, "", {"a", "c"}}; };
  const auto required = plan_of(policy + flows, options);
  EXPECT_EQ(required.flows[0].verdict, Verdict::bridged);
  EXPECT_EQ(required.flows[0].gap, AttributeSet{"a"});
  EXPECT_EQ(required.flows[0].policies, Words{"ok"});

  options.policy = [](const PolicyQuery&) -> Result<PolicyDecision> { return PolicyDecision{true, {"ok"}, "", {"aa"}}; };
  EXPECT_NE(error_of(policy + flows, options).text().find("policy ok requires attribute 'aa', which is not known"),
            std::string::npos);
}

TEST(Plan, WithoutAPolicyItSaysSo) {
  const auto made = plan_of("");
  ASSERT_EQ(made.warnings.size(), 1u);
  EXPECT_EQ(made.warnings[0], "no Policy in the input: every flow is taken as permitted");
}

TEST(Plan, AnAttributeThatLooksMisspeltIsAWarningThatNamesTheOtherOne) {
  const auto node = [](std::string_view name, std::string_view attributes) {
    return fmt::format("kind: Node\nmetadata: {{name: {}, domain: z}}\nspec: {{attributes: [{}]}}\n---\n", name, attributes);
  };
  const auto warnings = [](const std::string& more) {
    auto made = plan_of(more).warnings;
    made.erase(made.begin());  // no Policy
    return made;
  };
  const auto encrypt = std::string("kind: BridgingFunction\nmetadata: {name: e}\nspec: {provides: [encryption]}\n---\n");
  const auto sound = encrypt + node("n1", "encryption");
  EXPECT_EQ(warnings(sound + node("n2", "encrypton")),
            Words{"Node 'z/n2' (w.yaml:46:1): attribute 'encrypton' stands nowhere else; did you mean 'encryption'?"});
  EXPECT_EQ(warnings(node("n1", "audit-log") + node("n2", "audit-log") + node("n3", "adit-log")).size(), 1u);
  const auto function = std::string("kind: BridgingFunction\nmetadata: {name: f}\nspec: {provides: [encrpytion]}\n---\n");
  EXPECT_EQ(warnings(sound + function).size(), 1u);
  // Meant as they are: used twice, listed, another number, another letter, nothing near.
  EXPECT_EQ(warnings(sound + node("n2", "encrypton") + node("n3", "encrypton")), Words{});
  EXPECT_EQ(warnings(sound + node("n2", "encrypton") + "kind: Attributes\nmetadata: {name: l}\nspec: {attributes: [encrypton]}\n"), Words{});
  EXPECT_EQ(warnings(node("n1", "ipv4, zone-a") + node("n2", "ipv4, zone-a") + node("n3", "ipv6, zone-b")), Words{});
  EXPECT_EQ(warnings(sound + node("n2", "accounting")), Words{});
}

TEST(Plan, AnAuthoriserAtEitherEndRefuses) {
  const auto domain =
      std::string("kind: Domain\nmetadata: {name: y}\nspec: {authoriser: {allow: [{purpose: [treatment]}]}}\n---\n");
  const auto refused = plan_of(domain + application("  - {name: f, from: z/lone, to: y/server, port: 80, data: push}"));
  EXPECT_EQ(refused.flows[0].verdict, Verdict::denied);
  EXPECT_EQ(refused.flows[0].reason, "domain y refuses application app for purpose 'research' (it allows treatment).");
  const auto allowed =
      plan_of(domain + application("  - {name: f, from: z/lone, to: y/server, port: 80, data: push}", "app", "treatment"));
  EXPECT_EQ(allowed.flows[0].verdict, Verdict::supported);
}

TEST(Plan, WhatNginxCarriesConflictsWithAnyOtherMethodDirectionOrSelectorThere) {
  const auto conflicts = [](std::string_view left, std::string_view right) {
    return plan_of("kind: Node\nmetadata: {name: four, domain: z}\nspec: {addresses: [10.9.0.1]}\n---\n"
                   "kind: ProxyNode\nmetadata: {name: r, domain: w}\nspec: {addresses: [10.8.0.2]}\n---\n"
                   "kind: Node\nmetadata: {name: web, domain: w}\nspec: {addresses: [10.8.0.10], proxy: r}\n---\n" +
                   application(fmt::format("  - {{name: f, from: z/four, to: w/web, port: 80{}}}\n", left)) +
                   application(fmt::format("  - {{name: g, from: z/four, to: w/web, port: 80{}}}\n", right), "other"))
        .conflicts;
  };
  constexpr auto nginx = ", profile: time-critical, data: push";
  EXPECT_TRUE(conflicts(nginx, nginx).empty());
  for (const auto* other : {", method: socks6, data: push", ", profile: time-critical, data: pull", ", data: push, selector: {user: a}"}) {
    const auto found = conflicts(nginx, other);
    ASSERT_EQ(found.size(), 1u) << other;
    EXPECT_NE(found[0].reason.find("NGINX takes the connections of all programs"), std::string::npos) << found[0].reason;
  }
}

TEST(Plan, ConflictsAreFoundUnlessASelectorTellsThemApart) {
  const auto same = [](std::string_view left, std::string_view right) {
    return application(fmt::format("  - {{name: f, from: x/client, to: y/server, port: 80, data: push{}}}", left)) +
           application(fmt::format("  - {{name: g, from: x/client, to: y/server, port: 80, data: push{}}}", right), "other",
                       "treatment");
  };
  const auto conflicting = plan_of(same("", ""));
  ASSERT_EQ(conflicting.conflicts.size(), 1u);
  EXPECT_EQ(conflicting.conflicts[0].first, "app/f");
  EXPECT_EQ(conflicting.conflicts[0].second, "other/g");
  EXPECT_FALSE(conflicting.installs[0].feasible);
  EXPECT_TRUE(conflicting.installs[1].chain.empty());
  EXPECT_FALSE(conflicting.all_possible());
  EXPECT_EQ(plan_of(same(", selector: {user: a}", ", selector: {user: b}")).conflicts.size(), 0u);
  EXPECT_EQ(plan_of(same(", selector: {user: a}", ", selector: {cgroup: b}")).conflicts.size(), 1u);
  EXPECT_EQ(plan_of(same(", selector: {user: a}", "")).conflicts.size(), 1u);
  EXPECT_EQ(plan_of(application("  - {name: f, from: x/client, to: y/server, port: 80, data: push}\n"
                                "  - {name: g, from: x/client, to: y/server, port: 80, data: push}"))
                .conflicts.size(),
            0u);
  // Equal purpose, other data direction, so another chain.
  EXPECT_EQ(plan_of(application("  - {name: f, from: x/client, to: y/server, port: 80, data: push}\n"
                                "  - {name: g, from: x/client, to: y/server, port: 80, data: pull}"))
                .conflicts.size(),
            1u);
}

TEST(Plan, WhatIfChangesTheAnswerAndRefusesTypos) {
  const auto flows = application("  - {name: f, from: y/server, to: z/lone, port: 80, data: push}");
  PlanOptions options;
  options.what_if = {*WhatIf::parse("z/lone+=c")};
  EXPECT_EQ(plan_of(flows, options).flows[0].verdict, Verdict::supported);
  options.what_if = {*WhatIf::parse("y/server-=c")};
  EXPECT_EQ(plan_of(flows, options).flows[0].verdict, Verdict::supported);
  options.what_if = {*WhatIf::parse("z/lone+=cc")};
  EXPECT_NE(error_of(flows, options).text().find("--what-if z/lone+=cc: attribute 'cc' is not known"), std::string::npos);
  options.what_if = {*WhatIf::parse("z/alone+=c")};
  EXPECT_NE(error_of(flows, options).text().find("there is no Node 'z/alone'"), std::string::npos);
  for (const auto* text : {"", "z/lone", "+=c", "z/lone+=", "z/lone=c"}) {
    EXPECT_EQ(WhatIf::parse(text).error().code, Code::usage) << text;
  }
}

TEST(Plan, AnAttributesResourceMakesAnAttributeKnown) {
  PlanOptions options;
  options.what_if = {*WhatIf::parse("z/lone+=rare")};
  EXPECT_EQ(error_of("", options).code, Code::not_found);
  const auto made = plan_of("kind: Attributes\nmetadata: {name: more}\nspec: {attributes: [rare]}", options);
  EXPECT_EQ(made.areas.size(), 3u);
}

TEST(Plan, ThePrintedGapIsTheOtherDirectionAndWarns) {
  PlanOptions options;
  options.gap = GapRule::printed;
  const auto made = plan_of(application("  - {name: f, from: x/client, to: z/lone, port: 80, data: push}"), options);
  EXPECT_EQ(made.flows[0].verdict, Verdict::supported);  // fail-open: the reason why it is for comparison only
  ASSERT_EQ(made.warnings.size(), 2u);
  EXPECT_NE(made.warnings[1].find("for comparison only"), std::string::npos);
}

TEST(Plan, ACycleOfOrdersIsNamed) {
  const auto text = error_of(
      "kind: BridgingFunction\nmetadata: {name: u}\nspec: {order: {after: [v]}}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: v}\nspec: {order: {after: [w]}}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: w}\nspec: {order: {after: [u]}}\n---\n");
  EXPECT_EQ(text.code, Code::cycle);
  EXPECT_NE(text.what.find("u before w before v before u"), std::string::npos) << text.what;
  const auto pair = error_of(
      "kind: BridgingFunction\nmetadata: {name: one}\nspec: {pair: two, order: {after: [two]}}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: two}\nspec: {}\n---\n");
  EXPECT_NE(pair.what.find("one before two before one"), std::string::npos) << pair.what;
}

TEST(Plan, OrderAgainstPlacesTakesTheNextBestOrSaysWhy) {
  const auto tangle =
      "kind: Node\nmetadata: {name: s, domain: x}\nspec: {attributes: [g, h], proxy: p}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: late}\nspec: {provides: [g], place: destination}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: soon}\nspec: {provides: [h], place: source, order: {after: [late]}}\n---\n" +
      application("  - {name: f, from: x/s, to: y/server, port: 80, data: push}");
  const auto made = plan_of(tangle);
  EXPECT_EQ(made.flows[0].verdict, Verdict::unfeasible);
  EXPECT_NE(made.flows[0].reason.find("the order of soon and late contradicts their places"), std::string::npos)
      << made.flows[0].reason;
  const auto better =
      plan_of(tangle + "kind: BridgingFunction\nmetadata: {name: whole}\nspec: {provides: [h], cost: {setup: 9s}}");
  EXPECT_EQ(chain_of(better.flows[0].chain), (Words{"late@y/q", "whole@y/q"}));
}

TEST(Plan, MoreThanSixtyFourAttributesWork) {
  std::string names;
  std::string functions;
  for (int at = 0; at < 200; ++at) {
    names += fmt::format("{}t{}", at == 0 ? "" : ", ", at);
    if (at % 50 == 0)
      functions += fmt::format("kind: BridgingFunction\nmetadata: {{name: g{}}}\nspec: {{provides: [t{}]}}\n---\n", at, at);
  }
  const auto made =
      plan_of(functions + "kind: Node\nmetadata: {name: many, domain: x}\nspec: {proxy: p, attributes: [" + names +
              "]}\n---\n" + application("  - {name: f, from: x/many, to: y/server, port: 80, data: push}"));
  EXPECT_EQ(made.flows[0].gap.size(), 200u);
  EXPECT_EQ(made.flows[0].missing.size(), 196u);
}

TEST(Plan, OutputsOfTheExampleAreTheGoldenFiles) {
  const std::vector<std::string> paths{"examples/stroke-imaging.yaml"};
  const auto resources = load_resources(paths);
  ASSERT_TRUE(resources) << resources.error().text();
  const auto made = plan(*resources, {});
  ASSERT_TRUE(made) << made.error().text();
  const auto golden = [](const std::string& form) {
    std::ifstream file("src/planner/golden/stroke-imaging." + form);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  };
  EXPECT_EQ(print_text(*made), golden("text"));
  EXPECT_EQ(print_json(*made), golden("json"));
  EXPECT_EQ(print_dot(*made), golden("dot"));
}

}  // namespace
}  // namespace epif::planner
