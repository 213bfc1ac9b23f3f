#include "orchestrator/judgement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "orchestrator/installation.h"
#include "orchestrator/policies.h"
#include "orchestrator/sample.h"

namespace epif::orchestrator {
namespace {

using testing::HasSubstr;

constexpr std::chrono::sys_seconds now{std::chrono::seconds(1'795'000'000)};

/// The sample's domains with `more`, judged: application app, flow f.
struct Judged {
  explicit Judged(const std::string& more, const std::function<void(ResourceSet&)>& change = [](ResourceSet&) {})
      : resources(sample::resources(std::string(sample::domains) + more)) {
    change(resources);
    judgement = judge(resources, {"app"}, cedar_policies(), now);
  }
  const Verdict& verdict() const { return judgement.applications.at("app"); }
  std::map<std::string, Assignment> installed() const {
    InstallationInput input{.resources = resources, .plan = judgement.plan, .default_expires = now + std::chrono::hours(24)};
    if (verdict().kind == Verdict::Kind::possible) input.granted.insert("app");
    else input.refused["app"] = verdict().reason;
    return install(input);
  }
  ResourceSet resources;
  Judgement judgement;
};

std::string application(const std::string& to = "research/pacs", const std::string& purpose = "treatment") {
  return "---\napiVersion: epif/v1\nkind: Application\nmetadata: {name: app}\nspec:\n  purpose: " + purpose +
         "\n  flows:\n    - {name: f, from: umc/modality, to: " + to + ", port: 4242, data: push}\n";
}

/// `count` functions that only the modality's own proxy may hold, each for an attribute that the modality has.
std::string functions(std::size_t count) {
  std::string attributes;
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto name = fmt::format("f{:02}", i);
    attributes += (i == 0 ? "" : ", ") + ("a-" + name);
    out += fmt::format("---\napiVersion: epif/v1\nkind: BridgingFunction\nmetadata: {{name: {}}}\nspec: {{provides: [a-{}], image: \"sha256:{:064}\", place: source}}\n",
                       name, name, i);
  }
  return out + "---\napiVersion: epif/v1\nkind: Node\nmetadata: {name: rich, domain: umc}\nspec: {addresses: [10.1.0.11], attributes: [" +
         attributes + "], proxy: umc-proxy}\n";
}

void expect_nothing_installed(const Judged& judged) {
  for (const auto& [node, assignment] : judged.installed()) {
    EXPECT_TRUE(assignment.routes.routes.empty()) << node;
    EXPECT_TRUE(assignment.instances.empty()) << node;
  }
}

TEST(Judgement, a_proxy_without_an_address_fails_the_application_and_gives_no_route_around_it) {
  for (const auto* proxy : {"umc/umc-proxy", "research/research-proxy"}) {
    const Judged judged(application(), [&](ResourceSet& all) { all.proxies.at(proxy).addresses.clear(); });
    EXPECT_EQ(judged.verdict().kind, Verdict::Kind::failed);
    EXPECT_THAT(judged.verdict().reason, HasSubstr(std::string("proxy ") + proxy + " has no address"));
    expect_nothing_installed(judged);
  }
}

TEST(Judgement, more_functions_on_one_proxy_than_a_route_holds_fail_the_application) {
  auto flow = application();
  flow.replace(flow.find("umc/modality"), 12, "umc/rich");
  const Judged most(functions(limits::chain_max_functions) + flow);
  EXPECT_EQ(most.verdict().kind, Verdict::Kind::possible) << most.verdict().reason;
  const Judged more(functions(limits::chain_max_functions + 1) + flow);
  EXPECT_EQ(more.verdict().kind, Verdict::Kind::failed);
  EXPECT_THAT(more.verdict().reason, HasSubstr("17 functions on proxy umc/umc-proxy are more than 16"));
  expect_nothing_installed(more);
}

TEST(Judgement, a_denied_flow_inside_of_one_domain_is_captured_to_be_refused) {
  const std::string archive = "---\napiVersion: epif/v1\nkind: Node\nmetadata: {name: archive, domain: umc}\nspec: {addresses: [10.1.0.12], attributes: [encryption, firewall]}\n";
  const Judged judged(archive + application("umc/archive", "marketing"));
  EXPECT_EQ(judged.verdict().kind, Verdict::Kind::denied);
  const auto all = judged.installed();
  const auto& refusals = all.at("umc/modality").routes.refusals;
  const auto mine = std::ranges::find(refusals, "app/f", &Refusal::flow);
  ASSERT_NE(mine, refusals.end());
  EXPECT_EQ(mine->destination.text(), "10.1.0.12/32:4242");
  EXPECT_THAT(mine->reason, HasSubstr("no policy permits it"));
  const Judged granted(archive + application("umc/archive"));
  const auto open = granted.installed();
  EXPECT_FALSE(std::ranges::any_of(open.at("umc/modality").routes.refusals, [](const Refusal& one) { return one.destination.text().starts_with("10.1."); }));
}

}  // namespace
}  // namespace epif::orchestrator
