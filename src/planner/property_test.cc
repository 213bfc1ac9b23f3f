#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "planner/plan.h"
#include "planner/reference.h"

// The planner against the brute-force reference on random small worlds.
namespace epif::planner {
namespace {

constexpr int cases = 100'000;
const std::vector<std::string> attribute_names{"a", "b", "c", "d"};

std::set<std::string> random_attributes(std::mt19937& random, int percent) {
  std::set<std::string> set;
  for (const auto& name : attribute_names) {
    if (static_cast<int>(random() % 100) < percent) set.insert(name);
  }
  return set;
}

/// Up to five functions; orders point at smaller or larger names at random, without a cycle.
std::vector<reference::Function> random_functions(std::mt19937& random) {
  std::vector<reference::Function> functions(random() % 6);
  std::vector<std::size_t> rank(functions.size());
  for (std::size_t at = 0; at < functions.size(); ++at) {
    functions[at].name = std::string(1, static_cast<char>('p' + at));
    rank[at] = at;
  }
  std::shuffle(rank.begin(), rank.end(), random);
  for (std::size_t at = 0; at < functions.size(); ++at) {
    auto& function = functions[at];
    function.provides = random_attributes(random, 40);
    function.place = static_cast<int>(random() % 4) % 3;
    function.setup_us = random() % 3;
    function.per_gib_us = random() % 3;
    for (std::size_t other = 0; other < functions.size(); ++other) {
      if (rank[other] < rank[at] && random() % 4 == 0) function.after.insert(functions[other].name);
    }
  }
  // One pair in half of the worlds, its halves in an order that the constraints allow.
  if (functions.size() >= 2 && random() % 2 == 0) {
    const auto first = random() % functions.size();
    const auto second = random() % functions.size();
    if (rank[first] < rank[second]) {
      functions[first].pair = functions[second].name;
      functions[second].provides.clear();
    }
  }
  return functions;
}

AttributeSet sorted(const std::set<std::string>& set) {
  return {set.begin(), set.end()};
}

Node make_node(const std::string& name, const std::set<std::string>& attributes, int proxy) {
  Node node;
  node.metadata.domain = "d";
  node.metadata.name = name;
  node.attributes = sorted(attributes);
  if (proxy != 0) node.proxy = "d/proxy" + std::to_string(proxy);
  return node;
}

/// The same world as resources; the flow's data moves from `source` to `destination`.
ResourceSet resources_of(const reference::Question& question, bool push) {
  ResourceSet set;
  for (const auto number : {1, 2}) {
    ProxyNode proxy;
    proxy.metadata.domain = "d";
    proxy.metadata.name = "proxy" + std::to_string(number);
    set.put(proxy);
  }
  set.put(make_node("source", question.source, question.source_proxy));
  set.put(make_node("destination", question.destination, question.destination_proxy));
  for (const auto& function : question.functions) {
    BridgingFunction made;
    made.metadata.name = function.name;
    made.provides = sorted(function.provides);
    made.pair = function.pair;
    made.place = static_cast<Place>(function.place);
    made.setup = std::chrono::microseconds(function.setup_us);
    made.per_gib = std::chrono::microseconds(function.per_gib_us);
    made.after.assign(function.after.begin(), function.after.end());
    set.put(made);
  }
  Application application;
  application.metadata.name = "app";
  Flow flow;
  flow.name = "flow";
  flow.from = push ? "d/source" : "d/destination";
  flow.to = push ? "d/destination" : "d/source";
  flow.port = 80;
  flow.data = push ? DataDirection::push : DataDirection::pull;
  flow.volume = question.gib << 30;
  application.flows.push_back(flow);
  set.put(application);
  return set;
}

/// The planned chain in the direction of the data, with sides as the reference counts them.
std::vector<reference::Placed> placed_of(const DirectionPlan& flow, const reference::Question& question, bool push) {
  std::vector<reference::Placed> placed;
  for (const auto& [function, proxy] : flow.chain) {
    const bool at_source = proxy == "d/proxy" + std::to_string(question.source_proxy);
    bool second = false;
    for (const auto& other : question.functions) second = second || other.pair == function;
    placed.push_back({function, at_source && !second ? 1 : 2});
  }
  if (!push) std::ranges::reverse(placed);
  // One proxy at both ends holds everything; which side it counts as does not matter then.
  return placed;
}

reference::Question random_question(std::mt19937& random) {
  reference::Question question;
  question.functions = random_functions(random);
  question.source = random_attributes(random, 60);
  question.destination = random_attributes(random, 30);
  question.source_proxy = static_cast<int>(random() % 3);
  question.destination_proxy = static_cast<int>(random() % 3);
  question.gib = random() % 3;
  return question;
}

std::string describe(const reference::Question& question, const Plan& plan) {
  std::string text =
      fmt::format("proxies {} {} volume {}\n", question.source_proxy, question.destination_proxy, question.gib);
  for (const auto& function : question.functions) {
    text += function.name + " place " + std::to_string(function.place) + " pair '" + function.pair + "' after";
    for (const auto& other : function.after) text += " " + other;
    text += " provides";
    for (const auto& attribute : function.provides) text += " " + attribute;
    text += fmt::format(" cost {} {}\n", function.setup_us, function.per_gib_us);
  }
  return text + print_text(plan);
}

TEST(PlanProperty, EqualsTheBruteForceReference) {
  std::mt19937 random(20'241'122);
  std::map<std::string, int> seen;
  int tangled = 0;
  for (int round = 0; round < cases; ++round) {
    const auto question = random_question(random);
    const bool push = random() % 2 == 0;
    const auto wanted = reference::answer(question);
    const auto plan = planner::plan(resources_of(question, push), {});
    ASSERT_TRUE(plan) << plan.error().text();
    ASSERT_EQ(plan->flows.size(), 1u);
    const auto& flow = plan->flows[0];
    ASSERT_EQ(name(flow.verdict), wanted.verdict) << describe(question, *plan);
    ASSERT_EQ(flow.gap, sorted(wanted.gap)) << describe(question, *plan);
    ++seen[wanted.verdict];
    if (wanted.verdict == "unfeasible") {
      // By definition what nothing placeable provides; where only the order hinders, it names what is hindered.
      if (wanted.missing.empty())
        ++tangled;
      else
        ASSERT_EQ(flow.missing, sorted(wanted.missing)) << describe(question, *plan);
      ASSERT_FALSE(flow.missing.empty()) << describe(question, *plan);
      ASSERT_FALSE(plan->installs[0].feasible);
      ASSERT_DOUBLE_EQ(plan->unfeasibility_ratio, 1.0);
      continue;
    }
    ASSERT_TRUE(plan->installs[0].feasible);
    ASSERT_EQ(plan->installs[0].chain, flow.chain);
    ASSERT_EQ(plan->unfeasibility_ratio, 0.0);
    std::set<std::string> chosen;
    for (const auto& placed : flow.chain) chosen.insert(placed.function);
    ASSERT_EQ(chosen, wanted.chosen.value_or(std::set<std::string>{})) << describe(question, *plan);
    ASSERT_EQ(chosen.size(), flow.chain.size());
    if (question.source_proxy == question.destination_proxy) {
      auto alike = placed_of(flow, question, push);
      for (auto& placed : alike) placed.side = 1;
      ASSERT_TRUE(reference::lawful(question, alike)) << describe(question, *plan);
    } else {
      ASSERT_TRUE(reference::lawful(question, placed_of(flow, question, push))) << describe(question, *plan);
    }
    for (const auto& placed : flow.chain) {
      ASSERT_NE(std::ranges::find(flow.proxies, placed.proxy), flow.proxies.end()) << describe(question, *plan);
    }
  }
  // The worlds must reach every kind of answer, or the test would say little.
  EXPECT_GT(seen["supported"], cases / 50);
  EXPECT_GT(seen["bridged"], cases / 20);
  EXPECT_GT(seen["unfeasible"], cases / 20);
  EXPECT_GT(tangled, 10);
}

}  // namespace
}  // namespace epif::planner
