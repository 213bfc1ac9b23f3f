#include "api/resources.h"

#include <boost/json.hpp>

#include "api/test_world.h"

namespace epif::api {
namespace {

namespace json = boost::json;
using ResourcesTest = World;

TEST_F(ResourcesTest, ApplyOfSeveralDocumentsIsAllOrNothing) {
  auto user = client(as_user());
  const std::string bad = std::string(domain_and_nodes) + "---\nkind: Node\nmetadata: {name: z, domain: a}\nspec: {addresses: [10.1.0.10]}\n";
  const auto refused = user->request("POST", "/v1/apply?source=site.yaml", bad, "application/yaml");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find("10.1.0.10"), std::string::npos) << refused.error().text();
  EXPECT_NE(refused.error().where.find("site.yaml:"), std::string::npos) << refused.error().text();
  EXPECT_TRUE(user->list("Node")->records.empty());
  EXPECT_EQ(store->events("Node", 0, 10)->size(), 0u);

  const auto applied = user->request("POST", "/v1/apply", domain_and_nodes, "application/yaml");
  ASSERT_TRUE(applied) << applied.error().text();
  EXPECT_EQ(user->list("Node")->records.size(), 2u);
  EXPECT_EQ(user->get("Node", "a/x")->name, "a/x");
}

TEST_F(ResourcesTest, AFunctionsImageBehindATagIsRefusedWithObjectAndField) {
  auto user = client(as_user());
  const auto function = [](const std::string& image) {
    return "kind: BridgingFunction\nmetadata: {name: audit}\nspec: {provides: [audit], trust: platform, image: \"" + image + "\"}\n";
  };
  const auto refused = user->request("POST", "/v1/apply?source=f.yaml", function("localhost/epif-bf:latest"), "application/yaml");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid_input);
  EXPECT_NE(refused.error().text().find("BridgingFunction 'audit', spec.image"), std::string::npos) << refused.error().text();
  EXPECT_NE(refused.error().where.find("f.yaml:"), std::string::npos) << refused.error().text();
  EXPECT_TRUE(user->list("BridgingFunction")->records.empty());
  const auto taken = user->request("POST", "/v1/apply", function("localhost/epif-bf@sha256:" + std::string(64, '0')), "application/yaml");
  EXPECT_TRUE(taken) << taken.error().text();
}

TEST_F(ResourcesTest, ANeighbourDoesNotAnswerForItsDomain) {
  kinds.add({.name = "AccessRequest", .plural = "accessrequests", .in_domain = true, .users_write = false,
             .agent_reads = Reach::own_domain, .agent_writes_status = Reach::own_domain});
  ASSERT_TRUE(store->put("AccessRequest", "a/app", R"({"name":"app","domain":"a"})", R"({"answerer":"a/x"})"));
  for (const auto* other : {"a/z", "b/y"}) {  // in the domain, but not its voice; of another domain
    const auto refused = client(as_agent(other))->put_status("AccessRequest", "a/app", R"({"granted":true})");
    ASSERT_FALSE(refused) << other;
    EXPECT_EQ(refused.error().code, Code::denied) << refused.error().text();
  }
  EXPECT_TRUE(store->get("AccessRequest", "a/app")->status.empty());
  const auto said = client(as_agent("a/x"))->put_status("AccessRequest", "a/app", R"({"granted":true})");
  EXPECT_TRUE(said) << said.error().text();
}

TEST_F(ResourcesTest, AnAgentsStatusOfThreeMebibytesIsRefusedAndTheOneBeforeStays) {
  ASSERT_TRUE(store->put("Assignment", "a/x", R"({"name":"x","domain":"a"})", "{}"));
  auto agent = client(as_agent("a/x"));
  ASSERT_TRUE(agent->put_status("Assignment", "a/x", R"({"generation":1})"));
  const auto revision = store->revision();
  const auto large = agent->put_status("Assignment", "a/x", R"({"errors":[")" + std::string(3 * 1024 * 1024, 'x') + R"("]})");
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, Code::limit) << large.error().text();
  EXPECT_NE(large.error().text().find("Assignment a/x"), std::string::npos) << large.error().text();
  EXPECT_LT(large.error().text().size(), 300u) << "it does not repeat what was too large";
  EXPECT_EQ(store->revision(), revision);
  EXPECT_TRUE(agent->put_status("Assignment", "a/x", R"({"generation":2})")) << "the connection and the member go on";
}

TEST_F(ResourcesTest, ApplyingTheSameAgainChangesNothing) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", domain_and_nodes));
  const auto revision = store->revision();
  const auto again = user->request("POST", "/v1/apply", domain_and_nodes);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->find("changed\""), again->find("unchanged\"") + 2);
  EXPECT_EQ(store->revision(), revision);
}

TEST_F(ResourcesTest, WhatGetPrintsCanBePutBack) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", domain_and_nodes));
  ASSERT_TRUE(store->put_status("Node", "a/x", R"({"seen":true})"));
  const auto text = user->request("GET", "/v1/nodes/a/x");
  ASSERT_TRUE(text);
  const auto put = user->request("PUT", "/v1/nodes/a%2Fx", *text);
  ASSERT_TRUE(put) << put.error().text();
  EXPECT_EQ(user->get("Node", "a/x")->generation, 1u);
}

TEST_F(ResourcesTest, AStaleVersionIsAConflict) {
  auto user = client(as_user());
  const std::string document = R"({"kind":"Domain","metadata":{"name":"a"},"spec":{"jurisdiction":"EU"}})";
  const auto first = user->put("Domain", "a", document);
  ASSERT_TRUE(first) << first.error().text();
  const std::string changed = R"({"kind":"Domain","metadata":{"name":"a"},"spec":{"jurisdiction":"US"}})";
  ASSERT_TRUE(user->put("Domain", "a", changed, first->version));
  EXPECT_EQ(user->put("Domain", "a", document, first->version).error().code, Code::conflict);
  EXPECT_EQ(user->request("POST", "/v1/domains", document).error().code, Code::conflict);
  EXPECT_NE(user->get("Domain", "a")->spec.find("US"), std::string::npos);
}

TEST_F(ResourcesTest, BadDocumentsGetOneClearMessage) {
  auto user = client(as_user());
  const std::pair<const char*, const char*> cases[] = {
      {R"({"kind":"Nod","metadata":{"name":"a"},"spec":{}})", "Nod"},
      {R"({"kind":"Domain","metadata":{"name":"a"},"spec":{"jurisdicton":"EU"}})", "jurisdicton"},
      {"kind: Domain\nmetadata: {name: [}\n", "request:2"},
      {"", "no resource"},
      {"kind: Policy\nmetadata: {name: p}\nspec: {language: cedar, text: 'permit(principal'}\n", "request"},
      {"kind: Domain\nmetadata: {name: a}\nspec: {}\n---\nkind: Domain\nmetadata: {name: a}\nspec: {}\n", "twice"},
      {"kind: BridgingFunction\nmetadata: {name: f}\nspec: {provides: [p], order: {after: [g]}}\n---\n"
       "kind: BridgingFunction\nmetadata: {name: g}\nspec: {provides: [q], order: {after: [f]}}\n", "cycle"},
  };
  for (const auto& [text, words] : cases) {
    const auto refused = user->request("POST", "/v1/apply", text);
    ASSERT_FALSE(refused) << text;
    EXPECT_NE((refused.error().text() + std::string(name(refused.error().code))).find(words), std::string::npos) << refused.error().text();
  }
  EXPECT_EQ(user->call("PUT", "/v1/domains/other", R"({"kind":"Domain","metadata":{"name":"a"},"spec":{}})")->status, 400);
  EXPECT_EQ(user->call("GET", "/v1/things")->status, 404);
  EXPECT_EQ(user->call("GET", "/v1/nodes/lonely")->status, 404);
  EXPECT_EQ(user->call("GET", "/v1/tokens/x")->status, 404);
  EXPECT_EQ(store->list("Domain")->records.size(), 0u);
}

TEST_F(ResourcesTest, WhatIsInUseCannotBeDeleted) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", std::string(domain_and_nodes) + R"(---
kind: Application
metadata: {name: app}
spec: {purpose: care, flows: [{name: f, from: a/x, to: b/y, port: 80, data: push}]}
)"));
  const auto refused = user->remove("Node", "a/x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::conflict) << refused.error().text();
  EXPECT_TRUE(user->remove("Application", "app"));
  EXPECT_TRUE(user->remove("Node", "a/x"));
  EXPECT_EQ(user->remove("Node", "a/x").error().code, Code::not_found);
}

TEST_F(ResourcesTest, AnAgentReadsAndReportsOnlyWhatIsItsOwn) {
  ASSERT_TRUE(store->put("Assignment", "a/x", R"({"name":"x","domain":"a"})", "{}"));
  ASSERT_TRUE(store->put("Assignment", "b/y", R"({"name":"y","domain":"b"})", "{}"));
  auto agent = client(as_agent("a/x"));
  EXPECT_TRUE(agent->get("Assignment", "a/x"));
  EXPECT_EQ(agent->get("Assignment", "b/y").error().code, Code::denied);
  const auto listing = agent->list("Assignment");
  ASSERT_TRUE(listing);
  ASSERT_EQ(listing->records.size(), 1u);
  const auto reported = agent->put_status("Assignment", "a/x", R"({"generation":1})");
  ASSERT_TRUE(reported) << reported.error().text();
  EXPECT_EQ(reported->status, R"({"generation":1})");
  EXPECT_EQ(reported->generation, 1u);
  EXPECT_EQ(agent->put_status("Assignment", "b/y", "{}").error().code, Code::denied);
  EXPECT_EQ(agent->put_status("Assignment", "a/x", "[]").error().code, Code::invalid_input);
  EXPECT_EQ(agent->put("Domain", "a", R"({"kind":"Domain","metadata":{"name":"a"},"spec":{}})").error().code, Code::denied);
  EXPECT_EQ(agent->remove("Assignment", "a/x").error().code, Code::denied);
  EXPECT_EQ(agent->call("GET", "/v1/audit")->status, 403);
  EXPECT_EQ(agent->call("GET", "/v1/plan")->status, 403);
  EXPECT_EQ(client(as_user())->put("Assignment", "a/x", R"({"kind":"Assignment","metadata":{"name":"x","domain":"a"},"spec":{}})").error().code, Code::denied);
}

TEST_F(ResourcesTest, StoppingAnApplicationIsAWishThatReapplyingTakesBack) {
  auto user = client(as_user());
  const std::string application = "kind: Application\nmetadata: {name: app}\nspec: {purpose: care, flows: [{name: f, from: a/x, to: b/y, port: 80}]}\n";
  ASSERT_TRUE(user->request("POST", "/v1/apply", std::string(domain_and_nodes) + "---\n" + application));
  ASSERT_TRUE(user->request("PUT", "/v1/applications/app/desired", R"({"desired":"stopped"})"));
  EXPECT_TRUE(is_stopped(store->get("Application", "app").value()));
  EXPECT_EQ(user->request("PUT", "/v1/applications/app/desired", R"({"desired":"maybe"})").error().code, Code::invalid_input);
  ASSERT_TRUE(user->request("POST", "/v1/apply", application));
  EXPECT_FALSE(is_stopped(store->get("Application", "app").value()));
}

TEST_F(ResourcesTest, PlansWhatIsStoredAndWhatIsSent) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", domain_and_nodes));
  const auto stored = user->request("GET", "/v1/plan");
  ASSERT_TRUE(stored) << stored.error().text();
  EXPECT_EQ(json::parse(*stored).as_object().at("areas").as_array().size(), 1u);
  const auto sent = user->request("POST", "/v1/plan", R"({"kind":"Domain","metadata":{"name":"c"},"spec":{}})");
  ASSERT_TRUE(sent) << sent.error().text();
  EXPECT_EQ(user->get("Domain", "c").error().code, Code::not_found);
}

std::string requiring(const std::string& attribute) {
  return "kind: Policy\nmetadata: {name: p}\nspec:\n  language: cedar\n  text: |\n    @id(\"care\")\n    @require(\"" + attribute +
         "\")\n    permit(principal, action, resource);\n";
}

TEST_F(ResourcesTest, APolicyThatRequiresAnUnknownAttributeIsRefusedAtItsLineAndStopsNothing) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", domain_and_nodes));
  const auto refused = user->request("POST", "/v1/apply", requiring("encyption"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid_input);
  EXPECT_NE(refused.error().text().find("policy care requires attribute 'encyption'"), std::string::npos) << refused.error().text();
  EXPECT_NE(refused.error().text().find("request:8:"), std::string::npos) << refused.error().text();
  EXPECT_EQ(user->get("Policy", "p").error().code, Code::not_found);
  EXPECT_TRUE(user->request("GET", "/v1/plan"));
  ASSERT_TRUE(user->request("POST", "/v1/apply", requiring("encryption")));
  const auto with_name = requiring("audit") + "---\nkind: Attributes\nmetadata: {name: more}\nspec: {attributes: [audit]}\n";
  const auto together = user->request("POST", "/v1/apply", with_name);
  ASSERT_TRUE(together) << together.error().text();
}

TEST_F(ResourcesTest, AnAttributeThatIsGoneIsBadInputOfThePlanNotAMissingPage) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", requiring("encryption") + "---\n" + domain_and_nodes));
  ASSERT_TRUE(user->remove("Node", "a/x"));
  ASSERT_TRUE(user->remove("Node", "b/y"));
  const auto plan = user->call("GET", "/v1/plan");
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->status, 400) << plan->body;
  EXPECT_NE(plan->body.find("policy care requires attribute 'encryption'"), std::string::npos) << plan->body;
  EXPECT_NE(plan->body.find("Policy p"), std::string::npos) << plan->body;
  EXPECT_TRUE(user->request("POST", "/v1/apply", "kind: Domain\nmetadata: {name: c}\nspec: {}\n")) << "an older mistake stops nothing else";
}

TEST_F(ResourcesTest, AnswersAuthZenEvaluationsByThePolicies) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", std::string(domain_and_nodes) +
      "---\nkind: Policy\nmetadata: {name: p}\nspec: {language: cedar, text: '@id(\"care\") permit(principal, action == Action::\"share\", resource) when { context.purpose == \"care\" };'}\n"));
  const auto ask = [&](const char* purpose, const char* to) {
    const auto body = std::string(R"({"subject":{"type":"Node","id":"a/x"},"action":{"name":"share"},"resource":{"type":"Node","id":")") + to +
                      R"("},"context":{"purpose":")" + purpose + "\"}}";
    const auto answer = user->request("POST", "/access/v1/evaluation", body);
    EXPECT_TRUE(answer) << answer.error().text();
    return json::parse(answer.value_or("{}")).as_object();
  };
  const auto yes = ask("care", "b/y");
  EXPECT_TRUE(yes.at("decision").as_bool()) << json::serialize(yes);
  EXPECT_EQ(json::serialize(yes.at("context").at("policies")), R"(["care"])");
  const auto no = ask("marketing", "b/y");
  EXPECT_FALSE(no.at("decision").as_bool());
  EXPECT_FALSE(no.at("context").at("reason").as_string().empty());
  EXPECT_FALSE(ask("care", "c/z").at("decision").as_bool());
  EXPECT_EQ(user->call("POST", "/access/v1/evaluation", "{}")->status, 400);
}

TEST_F(ResourcesTest, TheAuditLogSaysWhoDidWhatAndItsChainHolds) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", domain_and_nodes));
  const auto text = user->request("GET", "/v1/audit?after=1&limit=2");
  ASSERT_TRUE(text);
  const auto lines = json::parse(*text).as_object().at("lines").as_array();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(std::string_view(lines[0].at("entry").as_string()).find("user alice"), std::string::npos);
  EXPECT_EQ(store::first_broken_line(store->audit(0, 100).value()), 0u);
}

TEST_F(ResourcesTest, TheOpenApiDocumentNamesEveryRouteAndKind) {
  const auto text = client(as_user())->request("GET", "/openapi.json");
  ASSERT_TRUE(text);
  const auto document = json::parse(*text).as_object();
  EXPECT_EQ(document.at("openapi").as_string(), "3.1.0");
  for (const auto* path : {"/v1/{kind}", "/v1/{kind}/{name}", "/v1/apply", "/v1/plan", "/v1/join", "/v1/audit", "/metrics", "/healthz", "/openapi.json", "/access/v1/evaluation"}) {
    EXPECT_TRUE(document.at("paths").as_object().contains(path)) << path;
  }
  EXPECT_TRUE(document.at("components").at("schemas").as_object().contains("AssignmentSpec"));
}

TEST_F(ResourcesTest, MetricsCountTheResources) {
  auto user = client(as_user());
  ASSERT_TRUE(user->request("POST", "/v1/apply", domain_and_nodes));
  EXPECT_NE(user->call("GET", "/metrics")->body.find("epif_resources{kind=\"Node\"} 2\n"), std::string::npos);
}

}  // namespace
}  // namespace epif::api
