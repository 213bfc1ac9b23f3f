#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <random>
#include <utility>
#include <vector>

#include "planner/judge.h"
#include "planner/plan.h"

// The speeds that the planner promises on one core: 100,000 nodes with 64 attributes grouped within 1 s, and 1,000,000
// verdicts within 1 s with up to 1,000 distinct gaps and 32 functions. The first three take the number of nodes.
namespace epif::planner {
namespace {

constexpr std::size_t node_count = 100'000;
constexpr std::int64_t least_nodes = 1'000;
constexpr std::int64_t most_nodes = 1'000'000;
constexpr std::size_t attribute_count = 64;
constexpr std::size_t function_count = 32;
constexpr std::size_t verdict_count = 1'000'000;

std::string attribute(std::size_t at) {
  return fmt::format("attribute-{:02}", at);
}

Node make_node(std::size_t number, AttributeSet attributes) {
  Node node;
  node.metadata.domain = fmt::format("domain-{}", number % 100);
  node.metadata.name = fmt::format("node-{:06}", number);
  node.attributes = std::move(attributes);
  node.proxy = node.metadata.domain + "/proxy";
  return node;
}

void add_proxies(ResourceSet& set) {
  for (std::size_t at = 0; at < 100; ++at) {
    ProxyNode proxy;
    proxy.metadata.domain = fmt::format("domain-{}", at);
    proxy.metadata.name = "proxy";
    set.put(proxy);
  }
}

/// 32 functions, each with two to six of the attributes, every eighth a first half.
void add_functions(ResourceSet& set, std::mt19937_64& random) {
  for (std::size_t at = 0; at < function_count; ++at) {
    BridgingFunction function;
    function.metadata.name = fmt::format("function-{:02}", at);
    for (std::size_t bit = 0; bit < attribute_count; ++bit) {
      if (bit % function_count == at || random() % 24 == 0) function.provides.push_back(attribute(bit));
    }
    function.setup = std::chrono::milliseconds(random() % 500);
    function.per_gib = std::chrono::milliseconds(random() % 500);
    if (at % 8 == 0) {
      BridgingFunction half;
      half.metadata.name = function.metadata.name + "-half";
      function.pair = half.metadata.name;
      set.put(half);
    }
    set.put(function);
  }
}

/// Every node its own random half of the attributes: as many areas as nodes, the worst case.
void group_all_different(benchmark::State& state) {
  std::mt19937_64 random(1);
  ResourceSet set;
  for (std::size_t at = 0; at < static_cast<std::size_t>(state.range(0)); ++at) {
    AttributeSet attributes;
    for (std::size_t bit = 0; bit < attribute_count; ++bit) {
      if (random() % 2 == 0) attributes.push_back(attribute(bit));
    }
    set.put(make_node(at, std::move(attributes)));
  }
  for (auto _ : state) benchmark::DoNotOptimize(areas(set));
}
BENCHMARK(group_all_different)->RangeMultiplier(10)->Range(least_nodes, most_nodes)->Unit(benchmark::kMillisecond);

/// Every node has all 64 attributes but for one or two: some 2,000 areas, 6.2 million attributes to read.
void group_full_sets(benchmark::State& state) {
  std::mt19937_64 random(2);
  ResourceSet set;
  for (std::size_t at = 0; at < node_count; ++at) {
    AttributeSet attributes;
    const auto first = random() % attribute_count;
    const auto second = random() % attribute_count;
    for (std::size_t bit = 0; bit < attribute_count; ++bit) {
      if (bit != first && bit != second) attributes.push_back(attribute(bit));
    }
    set.put(make_node(at, std::move(attributes)));
  }
  for (auto _ : state) benchmark::DoNotOptimize(areas(set));
}
BENCHMARK(group_full_sets)->Unit(benchmark::kMillisecond);

/// Sites in 32 areas, so that pairs of them make up to 992 distinct gaps of about sixteen attributes.
ResourceSet verdict_world(std::size_t nodes) {
  std::mt19937_64 random(3);
  ResourceSet set;
  add_proxies(set);
  add_functions(set, random);
  std::vector<AttributeSet> kinds(32);
  for (auto& kind : kinds) {
    for (std::size_t bit = 0; bit < attribute_count; ++bit) {
      if (random() % 2 == 0) kind.push_back(attribute(bit));
    }
  }
  for (std::size_t at = 0; at < nodes; ++at) set.put(make_node(at, kinds[random() % kinds.size()]));
  return set;
}

/// A verdict for each node, over all pairs of areas.
void verdict_for_each_node(benchmark::State& state) {
  const auto nodes = static_cast<std::size_t>(state.range(0));
  const auto set = verdict_world(nodes);
  const Landscape landscape(set);
  const auto catalog = Catalog::make(set, landscape);
  std::mt19937_64 random(4);
  std::vector<std::size_t> destinations(nodes);
  for (auto& destination : destinations) destination = random() % nodes;
  for (auto _ : state) {
    Chooser chooser(*catalog);  // nothing remembered from the round before
    for (std::size_t at = 0; at < nodes; ++at) {
      benchmark::DoNotOptimize(
          judge(landscape, chooser, landscape.sites()[at], landscape.sites()[destinations[at]], {}, 0, GapRule::complement));
    }
  }
}
BENCHMARK(verdict_for_each_node)->RangeMultiplier(10)->Range(least_nodes, most_nodes)->Unit(benchmark::kMillisecond);

/// From resources as they are read to the inner form: interned attributes, areas, sites.
void landscape_of_nodes(benchmark::State& state) {
  const auto set = verdict_world(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    const Landscape landscape(set);
    benchmark::DoNotOptimize(landscape.sites().size());
  }
}
BENCHMARK(landscape_of_nodes)->RangeMultiplier(10)->Range(least_nodes, most_nodes)->Unit(benchmark::kMillisecond);

void million_verdicts(benchmark::State& state) {
  const auto set = verdict_world(node_count);
  const Landscape landscape(set);
  const auto catalog = Catalog::make(set, landscape);
  std::mt19937_64 random(4);
  std::vector<std::pair<std::size_t, std::size_t>> flows(verdict_count);
  for (auto& [source, destination] : flows) {
    source = random() % node_count;
    destination = random() % node_count;
  }
  std::size_t needs = 0;
  std::size_t bridged = 0;
  for (auto _ : state) {
    Chooser chooser(*catalog);  // nothing remembered from the round before
    bridged = 0;
    for (const auto& [source, destination] : flows) {
      const auto judgement =
          judge(landscape, chooser, landscape.sites()[source], landscape.sites()[destination], {}, 0, GapRule::complement);
      bridged += judgement->verdict == Verdict::bridged ? 1 : 0;
    }
    needs = chooser.distinct_needs();
  }
  state.counters["distinct_needs"] = static_cast<double>(needs);
  state.counters["bridged"] = static_cast<double>(bridged);
}
BENCHMARK(million_verdicts)->Unit(benchmark::kMillisecond);

/// The whole plan of 100,000 flows with names, reasons, paths and latencies for people.
void whole_plan_of_100000_flows(benchmark::State& state) {
  auto set = verdict_world(node_count);
  std::mt19937_64 random(5);
  std::vector<std::string> names;
  for (const auto& [full_name, node] : set.nodes) names.push_back(full_name);
  Application application;
  application.metadata.name = "application";
  for (std::size_t at = 0; at < 100'000; ++at) {
    Flow flow;
    flow.name = fmt::format("flow-{}", at);
    flow.from = names[random() % names.size()];
    flow.to = names[random() % names.size()];
    flow.port = static_cast<std::uint16_t>(1 + at % 60'000);
    flow.data = DataDirection::push;
    application.flows.push_back(std::move(flow));
  }
  set.put(application);
  for (auto _ : state) benchmark::DoNotOptimize(plan(set, {}));
}
BENCHMARK(whole_plan_of_100000_flows)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace epif::planner

BENCHMARK_MAIN();
