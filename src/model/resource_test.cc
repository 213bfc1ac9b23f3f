#include "model/resource.h"

#include <gtest/gtest.h>

#include "model/document.h"

namespace epif {
namespace {

constexpr std::string_view base = R"(
kind: Node
metadata: {name: a, domain: x}
spec: {addresses: [10.0.0.1], proxy: p}
---
kind: Node
metadata: {name: b, domain: y}
spec: {addresses: [10.0.0.2]}
---
kind: ProxyNode
metadata: {name: p, domain: x}
spec: {addresses: [10.0.0.3]}
---
kind: BridgingFunction
metadata: {name: f}
spec: {provides: [z]}
---
)";

/// The text of the error that check() gives after `more` was added to a sound set.
std::string fault_of(std::string_view more) {
  const auto resources = parse_resources(std::string(base) + std::string(more), "s.yaml");
  if (!resources) return "parse: " + resources.error().text();
  ResourceSet set;
  for (const auto& resource : *resources) {
    if (auto added = set.add(resource); !added) return added.error().text();
  }
  const auto checked = set.check();
  return checked ? "" : checked.error().text();
}

TEST(ResourceSet, ASoundSetPasses) {
  EXPECT_EQ(fault_of(""), "");
}

TEST(ResourceSet, EveryBrokenReferenceIsNamed) {
  const auto expect = [](std::string_view more, std::string_view words) {
    const auto text = fault_of(more);
    EXPECT_TRUE(text.starts_with("s.yaml:18:1: ")) << text;
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  expect("kind: Node\nmetadata: {name: c, domain: x}\nspec: {addresses: [10.0.0.3]}",
         "Node 'x/c', spec.addresses: 10.0.0.3 belongs to ProxyNode 'x/p' already (s.yaml:10:1)");
  expect("kind: Node\nmetadata: {name: c, domain: x}\nspec: {addresses: ['::ffff:10.0.0.3']}",
         "10.0.0.3 belongs to ProxyNode");
  expect("kind: Node\nmetadata: {name: c, domain: x}\nspec: {proxy: q}", "there is no ProxyNode 'x/q'; did you mean 'x/p'?");
  expect("kind: Node\nmetadata: {name: a, domain: x}\nspec: {}", "Node 'x/a' is defined twice: first at s.yaml:2:1");
  expect("kind: ProxyNode\nmetadata: {name: a, domain: x}\nspec: {}", "a Node has the same name");
  expect("kind: ProxyNode\nmetadata: {name: q, domain: x}\nspec: {rtt: {nobody: 1ms}}", "no machine is called 'nobody'");
  expect("kind: BridgingFunction\nmetadata: {name: g}\nspec: {pair: g}", "it names itself");
  expect("kind: BridgingFunction\nmetadata: {name: g}\nspec: {pair: h}", "there is no BridgingFunction 'h'");
  expect("kind: BridgingFunction\nmetadata: {name: g}\nspec: {order: {after: [h]}}",
         "spec.order.after: there is no BridgingFunction");
  expect("kind: BridgingFunction\nmetadata: {name: g}\nspec: {order: {before: [ff]}}", "spec.order.before: there is no");
}

TEST(ResourceSet, AFlowToAnUnknownNodeNamesTheFlowAndItsLine) {
  const auto text =
      fault_of("kind: Application\nmetadata: {name: app}\nspec:\n  flows:\n  - {name: s, from: x/a, to: y/c, port: 1}");
  EXPECT_EQ(text, "s.yaml:22:5: Application 'app', flow 's', spec.flows[0].to: there is no Node 'y/c'; did you mean 'y/b'?");
  EXPECT_NE(fault_of("kind: Application\nmetadata: {name: app}\nspec: {flows: [{name: s, from: x/a, to: x/p, port: 1}]}")
                .find("'x/p' is a ProxyNode"),
            std::string::npos);
}

TEST(ResourceSet, PairsAreOneToOne) {
  const auto pairs =
      "kind: BridgingFunction\nmetadata: {name: g}\nspec: {pair: f}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: h}\nspec: {pair: f}";
  EXPECT_NE(fault_of(pairs).find("'f' is the second half of 'g' already"), std::string::npos);
  const auto chain =
      "kind: BridgingFunction\nmetadata: {name: g}\nspec: {pair: h}\n---\n"
      "kind: BridgingFunction\nmetadata: {name: h}\nspec: {pair: f}";
  EXPECT_NE(fault_of(chain).find("'h' names a pair, too"), std::string::npos);
}

TEST(ResourceSet, PutReplacesAndRemoveRemoves) {
  ResourceSet set;
  Domain domain;
  domain.metadata.name = "a";
  EXPECT_TRUE(set.add(domain));
  EXPECT_EQ(set.add(domain).error().code, Code::conflict);
  domain.jurisdiction = "EU";
  set.put(domain);
  EXPECT_EQ(set.find(Kind::domain, "a"), Resource(domain));
  EXPECT_TRUE(set.remove(Kind::domain, "a"));
  EXPECT_FALSE(set.remove(Kind::domain, "a"));
  EXPECT_EQ(set.find(Kind::domain, "a"), std::nullopt);
}

TEST(Kinds, AreKnownInEveryForm) {
  for (const auto kind : all_kinds) {
    EXPECT_EQ(parse_kind(name(kind)), kind);
    EXPECT_EQ(parse_kind(plural_name(kind)), kind);
  }
  EXPECT_EQ(parse_kind("proxynode"), Kind::proxy_node);
  EXPECT_EQ(parse_kind("nodez"), std::nullopt);
}

}  // namespace
}  // namespace epif
