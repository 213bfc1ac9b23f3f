#include "policy/flow_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace epif::policy {
namespace {

using std::chrono::sys_seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr sys_seconds now{std::chrono::seconds(1'800'000'000)};

/// umc/modality sends images to research/pacs: application stroke-imaging, flow send-images, purpose research.
struct Topology {
  ResourceSet resources;
  Application application;
  Flow flow;
  Node modality;
  Node pacs;

  Topology() {
    resources.domains["umc"] = {.metadata = named("umc"), .jurisdiction = "EU", .allow = {}};
    resources.domains["research"] = {.metadata = named("research"), .jurisdiction = "US", .allow = {}};
    modality.metadata = named("modality", "umc");
    modality.metadata.labels["ward"] = "B2";
    modality.attributes = {"audit"};
    pacs.metadata = named("pacs", "research");
    application.metadata = named("stroke-imaging");
    application.purpose = "research";
    flow.name = "send-images";
    flow.from = "umc/modality";
    flow.to = "research/pacs";
    flow.port = 4242;
  }

  static Metadata named(std::string name, std::string domain = {}) {
    Metadata metadata;
    metadata.name = std::move(name);
    metadata.domain = std::move(domain);
    return metadata;
  }

  Topology& policy(const std::string& name, const std::string& text) {
    epif::Policy policy;
    policy.metadata = named(name);
    policy.text = text;
    resources.policies[name] = policy;
    return *this;
  }

  Topology& consent(const std::string& name, std::vector<std::string> purposes, std::optional<sys_seconds> expires = {}) {
    Consent consent;
    consent.metadata = named(name);
    consent.subject = name;
    consent.flows = {"stroke-imaging/send-images"};
    consent.purposes = std::move(purposes);
    consent.expires = expires;
    resources.consents[name] = consent;
    return *this;
  }

  [[nodiscard]] FlowDecision push() const {
    const auto policies = FlowPolicies::make(resources, now);
    EXPECT_TRUE(policies) << policies.error().text();
    return policies ? policies->decide(application, flow, DataDirection::push, modality, pacs) : FlowDecision{};
  }
};

constexpr auto needs_consent = R"(@id("research-needs-consent") @require("encryption,audit")
permit(principal, action == Action::"share", resource)
when { context.purpose == "research" && context.consent };)";

TEST(FlowPolicies, PermitAConsentedFlowAndDemandAttributes) {
  const auto answer = Topology().policy("consent-research", needs_consent).consent("p-0042", {"research"}).push();
  EXPECT_TRUE(answer.permitted);
  EXPECT_THAT(answer.policies, ElementsAre("research-needs-consent"));
  EXPECT_THAT(answer.requires_attributes, ElementsAre("audit", "encryption"));
  EXPECT_EQ(answer.reason, "permitted by policy research-needs-consent, requires audit, encryption");
}

TEST(FlowPolicies, SayThatConsentIsLackingAndWhy) {
  const auto denied = [](Topology& topology) { return topology.policy("p", needs_consent).push().reason; };
  constexpr auto near = "no policy permits it; the nearest is research-needs-consent, where `context.consent` was false (";
  Topology none;
  EXPECT_EQ(denied(none), std::string(near) + "no Consent lists stroke-imaging/send-images for the purpose \"research\")");
  Topology other;
  other.consent("p-1", {"treatment"});
  EXPECT_THAT(denied(other), HasSubstr("Consent p-1 lists stroke-imaging/send-images but not for the purpose \"research\""));
  Topology ended;
  ended.consent("p-1", {"research"}, now);
  EXPECT_THAT(denied(ended), HasSubstr("Consent p-1 ended at 2027-01-15T08:00:00Z"));
}

TEST(FlowPolicies, CountAConsentUntilTheSecondOfItsEnd) {
  const auto later = now + std::chrono::seconds(1);
  Topology topology;
  topology.policy("p", needs_consent).consent("p-1", {"research"}, later).consent("p-2", {"research"}, now);
  EXPECT_TRUE(topology.push().permitted);
  const auto policies = FlowPolicies::make(topology.resources, now);
  ASSERT_TRUE(policies);
  EXPECT_EQ(policies->next_expiry(), later);
  EXPECT_FALSE(FlowPolicies::make(topology.resources, later)->next_expiry());
}

TEST(FlowPolicies, NameThePurposeThatNoPolicyPermits) {
  Topology topology;
  topology.application.purpose = "marketing";
  const auto answer = topology.policy("p", needs_consent).consent("p-1", {"research", "marketing"}).push();
  EXPECT_FALSE(answer.permitted);
  EXPECT_THAT(answer.policies, IsEmpty());
  EXPECT_EQ(
      answer.reason,
      "no policy permits it; the nearest is research-needs-consent, where `context.purpose == \"research\"` was false");
}

TEST(FlowPolicies, NameThePolicyThatForbidsAndItsCondition) {
  const auto answer =
      Topology()
          .policy("all", "permit(principal, action, resource);")
          .policy("eu-only", "forbid(principal, action, resource)\nwhen { context.to_jurisdiction != \"EU\" };")
          .push();
  EXPECT_FALSE(answer.permitted);
  EXPECT_THAT(answer.policies, ElementsAre("eu-only"));
  EXPECT_EQ(answer.reason, "forbidden by policy eu-only, which says when `context.to_jurisdiction != \"EU\"`");
}

TEST(FlowPolicies, DenyWhenAProhibitionCannotBeEvaluated) {
  const auto answer = Topology()
                          .policy("all", "permit(principal, action, resource);")
                          .policy("broken", "forbid(principal, action, resource) when { context.typo };")
                          .push();
  EXPECT_FALSE(answer.permitted);
  EXPECT_THAT(answer.policies, ElementsAre("broken"));
  EXPECT_THAT(answer.reason, HasSubstr("Policy/broken:1:44: `context` has no attribute \"typo\""));
}

TEST(FlowPolicies, FollowTheDataNotTheConnection) {
  Topology topology;
  topology.policy("p", R"(permit(principal in Domain::"research", action, resource == Node::"umc/modality")
    when { context.direction == "pull" && context.from_domain == "research" && context.to_jurisdiction == "EU"
           && context.client == Node::"umc/modality" && context.server == principal };)");
  const auto policies = FlowPolicies::make(topology.resources, now);
  ASSERT_TRUE(policies);
  const auto pull =
      policies->decide(topology.application, topology.flow, DataDirection::pull, topology.pacs, topology.modality);
  EXPECT_TRUE(pull.permitted) << pull.reason;
  EXPECT_FALSE(topology.push().permitted);
}

TEST(FlowPolicies, OfferEveryFactThatTheHeaderLists) {
  Topology topology;
  topology.modality.addresses = {*IpAddress::parse("10.1.0.10")};
  topology.consent("p-1", {"research"});
  const auto answer = topology
                          .policy("p", R"(permit(principal is Node in Domain::"umc", action, resource) when {
    principal.name == "modality" && principal.domain == "umc" && principal.jurisdiction == "EU" &&
    principal.attributes.contains("audit") && principal.addresses.contains(ip("10.1.0.10")) && principal.getTag("ward") == "B2" &&
    Domain::"research".jurisdiction == "US" && context.application == "stroke-imaging" && context.flow == "send-images" &&
    context.port == 4242 && context.volume == 0 && context.profile == "general" && context.archetype == "" &&
    context.subjects.contains("p-1") && context.now > datetime("2027-01-15") && context.from_jurisdiction == "EU" };)")
                          .push();
  EXPECT_TRUE(answer.permitted) << answer.reason;
}

TEST(FlowPolicies, NamePoliciesByTheirResource) {
  constexpr auto open = "permit(principal, action, resource);";
  EXPECT_THAT(Topology().policy("one", open).push().policies, ElementsAre("one"));
  EXPECT_THAT(Topology().policy("two", std::string(open) + open).push().policies, ElementsAre("two/policy0", "two/policy1"));
}

TEST(FlowPolicies, RefuseTextWithItsPlaceInTheDocument) {
  Topology topology;
  topology.policy("p", "permit(principal, action, resource)\nwhere { true };\n");
  topology.resources.policies["p"].text_origin = {"site.yaml", 8, 1};  // where a YAML block begins
  auto policies = FlowPolicies::make(topology.resources, now);
  ASSERT_FALSE(policies);
  EXPECT_THAT(policies.error().text(), HasSubstr("site.yaml:9:1: expected `when`, `unless` or `;`, found `where`"));
  topology.policy("p", "@id(\"x\") permit(principal, action, resource);")
      .policy("q", "@id(\"x\") permit(principal, action, resource);");
  policies = FlowPolicies::make(topology.resources, now);
  ASSERT_FALSE(policies);
  EXPECT_EQ(policies.error().code, Code::conflict);
}

TEST(FlowPolicies, RefuseARequiredAttributeThatNobodyKnowsWhoeverItPermits) {
  Topology topology;
  topology.policy("p", "permit(principal, action, resource)\nwhen { context.purpose == \"nobody's\" };\n\n@require(\"audit,adit\") permit("
                       "principal == Node::\"no/body\", action, resource);");
  topology.resources.policies["p"].text_origin = {"site.yaml", 8, 1};
  const auto policies = FlowPolicies::make(topology.resources, now);
  ASSERT_TRUE(policies) << policies.error().text();
  topology.resources.nodes["umc/modality"] = topology.modality;
  const auto unknown = policies->check_required(topology.resources);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::invalid_input);
  EXPECT_THAT(unknown.error().text(), HasSubstr("site.yaml:11:"));
  EXPECT_THAT(unknown.error().text(), HasSubstr("policy p/policy1 requires attribute 'adit', which is not known"));
  topology.resources.attributes["more"] = {.metadata = Topology::named("more"), .attributes = {"adit"}};
  EXPECT_TRUE(policies->check_required(topology.resources));
}

TEST(FlowPolicies, DenyWithoutAnyPolicy) {
  const auto answer = Topology().push();
  EXPECT_FALSE(answer.permitted);
  EXPECT_EQ(answer.reason, "no policy permits it: none is about data from umc/modality to research/pacs");
}

}  // namespace
}  // namespace epif::policy
