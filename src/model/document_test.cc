#include "model/document.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/limits.h"

namespace epif {
namespace {

constexpr std::string_view everything = R"(apiVersion: epif/v1
kind: Domain
metadata: {name: umc, labels: {city: "Utrecht"}}
spec: {jurisdiction: EU, authoriser: {allow: [{purpose: [treatment, research]}, {application: [a]}]}}
---
kind: Node
metadata: {name: modality, domain: umc}
spec: {addresses: [10.1.0.10, "fd09::10"], attributes: [firewall, encryption], proxy: umc-proxy, hostname: modality.umc}
---
kind: ProxyNode
metadata: {name: umc-proxy, domain: umc}
spec: {addresses: [10.1.0.2], engine: docker, rtt: {modality: 5ms}, ports: {clear: 2080}}
---
kind: BridgingFunction
metadata: {name: encrypt}
spec: {provides: [encryption], image: "localhost/epif-bf@sha256:00", pair: decrypt, place: any, trust: platform, cost: {setup: 300ms, perGiB: 0.4s}, order: {after: [dpi], before: [decrypt]}, parameters: {level: "3"}}
---
kind: BridgingFunction
metadata: {name: decrypt}
spec: {place: destination}
---
kind: BridgingFunction
metadata: {name: dpi}
spec: {provides: [dpi], place: source}
---
kind: Attributes
metadata: {name: common}
spec: {attributes: [audit, anonymisation]}
---
kind: Policy
metadata: {name: consent-research}
spec:
  language: cedar
  text: |
    @id("research-needs-consent") @require("encryption,audit")
    permit(principal, action == Action::"share", resource)
    when { context.purpose == "research" && context.consent };
---
kind: Consent
metadata: {name: p-0042}
spec: {subject: p-0042, flows: [stroke-imaging/send-images], purposes: [research], expires: 2027-12-31}
---
kind: Application
metadata: {name: stroke-imaging}
spec:
  purpose: research
  archetype: data-to-compute
  flows:
    - {name: send-images, from: umc/modality, to: umc/modality, port: 4242, data: push, profile: bulk, volume: 2GiB, selector: {user: "1000"}, replay: safe, method: socks5}
---
)";

TEST(Document, ReadsEveryKindWithAllItsFields) {
  const auto resources = parse_resources(everything, "all.yaml");
  ASSERT_TRUE(resources) << resources.error().text();
  ResourceSet set;
  for (const auto& resource : *resources) ASSERT_TRUE(set.add(resource));
  EXPECT_EQ(set.size(), 10u);
  ASSERT_TRUE(set.check()) << set.check().error().text();

  const auto& node = set.nodes.at("umc/modality");
  EXPECT_EQ(node.attributes, (AttributeSet{"encryption", "firewall"}));
  EXPECT_EQ(node.proxy, "umc/umc-proxy");
  EXPECT_EQ(node.addresses.size(), 2u);
  EXPECT_EQ(node.metadata.origin.text(), "all.yaml:6:1");
  EXPECT_EQ(set.proxies.at("umc/umc-proxy").clear_port, 2080);
  EXPECT_EQ(set.proxies.at("umc/umc-proxy").tls_port, 1083);
  EXPECT_EQ(set.proxies.at("umc/umc-proxy").rtt.at("modality"), std::chrono::milliseconds(5));
  EXPECT_EQ(set.functions.at("encrypt").per_gib, std::chrono::milliseconds(400));
  EXPECT_EQ(set.functions.at("encrypt").trust, Trust::platform);
  EXPECT_EQ(set.functions.at("decrypt").place, Place::destination);
  EXPECT_TRUE(set.policies.at("consent-research").text.starts_with("@id(\"research"));
  EXPECT_EQ(set.policies.at("consent-research").text_origin.text(), "all.yaml:35:5");
  const auto& flow = set.applications.at("stroke-imaging").flows.at(0);
  EXPECT_EQ(flow.volume, 2ull << 30);
  EXPECT_EQ(flow.profile, Profile::bulk);
  EXPECT_EQ(flow.selector.user, "1000");
  EXPECT_TRUE(flow.replay_safe);
  EXPECT_EQ(set.domains.at("umc").allow->size(), 2u);
}

TEST(Document, JsonAndYamlReadBackEqual) {
  const auto resources = parse_resources(everything, "all.yaml");
  ASSERT_TRUE(resources);
  for (const auto& resource : *resources) {
    const auto from_json = parse_resource(to_json(resource), "json");
    ASSERT_TRUE(from_json) << to_json(resource) << from_json.error().text();
    EXPECT_EQ(*from_json, resource) << to_json(resource);
    const auto from_yaml = parse_resource(to_yaml(resource), "yaml");
    ASSERT_TRUE(from_yaml) << to_yaml(resource) << from_yaml.error().text();
    EXPECT_EQ(*from_yaml, resource) << to_yaml(resource);
    EXPECT_EQ(to_json(*from_yaml), to_json(resource));
  }
}

TEST(Document, OddTextSurvivesYaml) {
  for (const std::string text :
       {"null",     "~",        "true",      "a: b",           "- x",          "#c",  " lead", "trail ", "a\nb\n",
        "a\nb",     "a\n\n",    "\ta\n",     "tab\there\nx\n", "\"q\" 'q' \\", "€ ü", "0x10",  "\x01",   "|",
        "a\r\nb\n", "---\nx\n", "{a}\n[b]\n"}) {
    Policy policy;
    policy.metadata.name = "p";
    policy.text = text;
    const auto read = parse_resource(to_yaml(policy), "p.yaml");
    ASSERT_TRUE(read) << to_yaml(policy) << read.error().text();
    EXPECT_EQ(std::get<Policy>(*read).text, text) << to_yaml(policy);
    const auto again = parse_resource(to_json(policy), "p.json");
    ASSERT_TRUE(again) << to_json(policy) << again.error().text();
    EXPECT_EQ(std::get<Policy>(*again).text, text);
  }
}

TEST(Document, JsonMayBeAListOverManyLinesWithTabs) {
  const auto read = parse_resources(
      "[\n\t{\"kind\":\"Domain\",\"metadata\":{\"name\":\"a\"},\"spec\":{}},\n\t{\"kind\": \"Domain\","
      "\t\"metadata\": {\"name\": \"b\"}, \"spec\": {\"jurisdiction\": \"E\\u00dc\\/\"}}\n]",
      "list.json");
  ASSERT_TRUE(read) << read.error().text();
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ(std::get<Domain>(read->at(1)).jurisdiction, "EÜ/");
}

TEST(Document, StatusIsReadPast) {
  EXPECT_TRUE(parse_resource("kind: Domain\nmetadata: {name: a, version: 3}\nspec: {}\nstatus: {phase: Ready}", "a"));
}

struct BadCase {
  std::string_view text;
  std::string_view where;
  std::string_view words;
};

void PrintTo(const BadCase& bad, std::ostream* out) {
  *out << bad.text;
}

class BadDocument : public testing::TestWithParam<BadCase> {};

TEST_P(BadDocument, GivesOneErrorThatNamesPlaceAndField) {
  const auto read = parse_resources(GetParam().text, "f.yaml");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().where, GetParam().where) << read.error().text();
  EXPECT_NE(read.error().text().find(GetParam().words), std::string::npos) << read.error().text();
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadDocument,
    testing::Values(
        BadCase{"kind: Domain\nmetadata: {name: a\nspec: {}", "f.yaml:3:5", "not well-formed YAML"},
        BadCase{"a: b: c", "f.yaml:1:5", "not well-formed YAML"},
        BadCase{"kind: Domian\nmetadata: {name: a}\nspec: {}", "f.yaml:1:7", "'Domian' is not a known kind"},
        BadCase{"apiVersion: epif/v2\nkind: Domain\nmetadata: {name: a}\nspec: {}", "f.yaml:1:13", "write epif/v1"},
        BadCase{"metadata: {name: a}\nspec: {}", "f.yaml:1:1", "kind is missing"},
        BadCase{"kind: Domain\nspec: {}", "f.yaml:1:1", "metadata is missing"},
        BadCase{"kind: Domain\nmetadata: {name: a}", "f.yaml:1:1", "spec is missing"},
        BadCase{"kind: Domain\nmetadata: {name: a, domain: b}\nspec: {}", "f.yaml:2:29", "belongs to no domain"},
        BadCase{"kind: Node\nmetadata: {name: a}\nspec: {}", "f.yaml:2:11", "metadata.domain is missing"},
        BadCase{"kind: Domain\nmetadata: {name: a/b}\nspec: {}", "f.yaml:2:18", "metadata.name: 'a/b' is not a name"},
        BadCase{"kind: Domain\nmetadata: {name: -a}\nspec: {}", "f.yaml:2:18", "is not a name"},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: {juristiction: EU}", "f.yaml:3:8",
                "spec.juristiction is not a known field: known here: jurisdiction, authoriser"},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: {}\nspecs: {}", "f.yaml:4:1", "specs is not a known field"},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: {jurisdiction: EU, jurisdiction: EU}", "f.yaml:3:26",
                "stands twice"},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: []", "f.yaml:3:7", "spec: a map is wanted, not a list"},
        BadCase{"kind: Node\nmetadata: {name: a, domain: b}\nspec: {attributes: x}", "f.yaml:3:20",
                "spec.attributes: a list is wanted"},
        BadCase{"kind: Node\nmetadata: {name: a, domain: b}\nspec: {attributes: [x, [y]]}", "f.yaml:3:24",
                "spec.attributes[1]: text is wanted, not a list"},
        BadCase{"kind: Node\nmetadata: {name: a, domain: b}\nspec: {attributes: [x, y, x]}", "f.yaml:3:20",
                "'x' stands twice"},
        BadCase{"kind: Node\nmetadata: {name: a, domain: b}\nspec: {addresses: [10.1.0.300]}", "f.yaml:3:20",
                "spec.addresses[0]: '10.1.0.300' is not an IPv4 or IPv6 address"},
        BadCase{"kind: BridgingFunction\nmetadata: {name: a}\nspec: {cost: {setup: 5}}", "f.yaml:3:22",
                "spec.cost.setup: '5' is not a duration"},
        BadCase{"kind: BridgingFunction\nmetadata: {name: a}\nspec: {place: nowhere}", "f.yaml:3:15",
                "spec.place: 'nowhere' is none of any, source, destination"},
        BadCase{"kind: Application\nmetadata: {name: a}\nspec: {flows: [{name: f, from: a/b, to: a/c}]}", "f.yaml:3:16",
                "spec.flows[0].port is missing"},
        BadCase{"kind: Application\nmetadata: {name: a}\nspec: {flows: [{name: f, from: a/b, to: a/c, port: 0}]}",
                "f.yaml:3:52", "spec.flows[0].port: a whole number from 1 to 65535 is wanted, not '0'"},
        BadCase{"kind: Application\nmetadata: {name: a}\nspec: {flows: [{name: f, from: a/b, to: a/c, port: \"80\"}]}",
                "f.yaml:3:52", "whole number"},
        BadCase{"kind: Application\nmetadata: {name: a}\nspec: {flows: [{name: f, from: b, to: a/c, port: 1}]}",
                "f.yaml:3:32", "write DOMAIN/NAME"},
        BadCase{"kind: Policy\nmetadata: {name: a}\nspec: {language: rego, text: x}", "f.yaml:3:18", "write cedar"},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: &x {}", "f.yaml:3:7", "anchors"},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: *x", "f.yaml:3:7", ""},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: !!map {}", "f.yaml:3:7", "tags are not accepted"},
        BadCase{"kind: Domain\nmetadata: {name: a}\nspec: {}\n? [a, b]\n: c", "f.yaml:4:3", "key must be plain text"},
        BadCase{"just text", "f.yaml:1:1", "a map is wanted"}));

TEST(Document, TwoFlowsWithOneNameAreRefused) {
  const auto read = parse_resources(
      "kind: Application\nmetadata: {name: a}\nspec:\n  flows:\n  - {name: f, from: a/b, to: a/c, port: 1}\n"
      "  - {name: f, from: a/b, to: a/c, port: 2}",
      "f.yaml");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().where, "f.yaml:6:5");
}

TEST(Document, AnAliasBombIsRefusedAtItsFirstAnchor) {
  std::string bomb = "kind: Domain\nmetadata: {name: a}\nspec: {}\nx0: &x0 [a,a,a,a,a,a,a,a,a,a]\n";
  for (int at = 1; at < 10; ++at) {
    bomb += fmt::format("x{0}: &x{0} [*x{1},*x{1},*x{1},*x{1},*x{1},*x{1},*x{1},*x{1},*x{1}]\n", at, at - 1);
  }
  const auto read = parse_resources(bomb, "bomb.yaml");
  ASSERT_FALSE(read);
  EXPECT_TRUE(read.error().where.starts_with("bomb.yaml:4:")) << read.error().text();
}

TEST(Document, WhatIsNoUtf8IsRefusedWithItsPlace) {
  for (const std::string_view bad :
       {"\xff", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    const auto read = parse_resources("kind: Domain\n# " + std::string(bad) + "\n", "f");
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().where, "f:2:3") << bad;
  }
}

TEST(Document, DepthAndSizeHaveLimits) {
  EXPECT_FALSE(parse_resources(std::string(100'000, '['), "f"));
  EXPECT_FALSE(parse_resources(std::string(100'000, '{'), "f"));
  const auto read = parse_resources(std::string(limits::document_max_bytes + 1, ' '), "f");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::limit);
}

TEST(Document, AMissingFileAndAFolderWithoutDocumentsAreErrors) {
  const std::vector<std::string> missing{"no/such/file.yaml"};
  EXPECT_EQ(load_resources(missing).error().code, Code::not_found);
  const std::vector<std::string> folder{"cmake"};
  EXPECT_EQ(load_resources(folder).error().code, Code::not_found);
}

TEST(Document, FoldersInAFolderAreNamedAsNotRead) {
  std::string folder = testing::TempDir() + "epif-load-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  for (const auto* below : {"/umc", "/research", "/empty"}) std::filesystem::create_directory(folder + below);
  const auto write = [&](const std::string& name) { std::ofstream(folder + name) << "kind: Domain\nmetadata: {name: d}\nspec: {}\n"; };
  write("/umc/domain.yaml");
  write("/research/domain.json");
  const std::vector<std::string> paths{folder};
  const auto refused = load_resources(paths);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().why, "folders in it are not read");
  EXPECT_EQ(refused.error().advice, "name " + folder + "/research itself");
  write("/all.yml");
  EXPECT_EQ(load_resources(paths)->size(), 1u);
  EXPECT_EQ(unread_folders(paths), (std::vector<std::string>{folder + "/research", folder + "/umc"}));
  const std::vector<std::string> both{folder, folder + "/umc/"};
  EXPECT_EQ(unread_folders(both), std::vector<std::string>{folder + "/research"});
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace epif
