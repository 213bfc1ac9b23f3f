#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/limits.h"
#include "model/assignment.h"
#include "orchestrator/aliases.h"
#include "orchestrator/application.h"
#include "orchestrator/infrastructure.h"
#include "orchestrator/policies.h"
#include "orchestrator/sample.h"
#include "orchestrator/status.h"

namespace epif::orchestrator {
namespace {

using testing::HasSubstr;
using Time = std::chrono::system_clock::time_point;
const Time start{std::chrono::seconds(1'795'000'000)};

int settle(store::Store& store, Time now = start, const std::string& refuse = {}, const std::optional<Cidr>& alias_range = {}) {
  const auto rounds = sample::settle(store, now, refuse, alias_range);
  if (rounds == 0) ADD_FAILURE() << "does not settle";
  return rounds;
}

std::string phase(store::Store& store, const std::string& application) {
  const auto status = parse_status(sample::status(store, application));
  return status ? std::string(name(status->phase)) : status.error().text();
}
std::string reason(store::Store& store, const std::string& application) {
  return parse_status(sample::status(store, application))->reason;
}

/// All that stands anywhere for an application: routes and instances on nodes, requests, environments.
std::vector<std::string> traces(store::Store& store, const std::string& application) {
  std::vector<std::string> out;
  const auto all_records = store.list("");
  for (const auto& record : all_records->records) {
    if (record.kind == assignment_kind) {
      const auto assignment = parse_assignment(record.spec);
      for (const auto& route : assignment->routes.routes) {
        if (route.flow.starts_with(application + "/")) out.push_back(record.name + " route " + route.flow);
      }
    } else if (record.kind != "Application" && (record.name == application || record.name.ends_with("/" + application))) {
      out.push_back(record.kind + " " + record.name);
    }
  }
  return out;
}

struct StateMachine : testing::Test {
  std::unique_ptr<store::Store> store = store::make_memory_store();
  void given(std::string_view documents) { sample::apply(*store, documents); }
  void stop(const std::string& application, bool stopped = true) {
    auto record = store->get("Application", application);
    auto metadata = boost::json::parse(record->metadata).as_object();
    metadata["desired"] = stopped ? "stopped" : "running";
    ASSERT_TRUE(store->put("Application", application, boost::json::serialize(metadata), record->spec));
  }
};

TEST_F(StateMachine, a_permitted_application_passes_all_eight_steps_and_runs) {
  given(sample::domains);
  given(sample::imaging);
  settle(*store);
  EXPECT_EQ(phase(*store, "imaging"), "Running") << reason(*store, "imaging");
  const auto status = parse_status(sample::status(*store, "imaging"));
  for (const auto& condition : status->conditions) {
    EXPECT_EQ(condition.state, StepState::done);
    EXPECT_FALSE(condition.reason.empty());
    EXPECT_FALSE(condition.time.empty());
  }
  EXPECT_THAT(status->flows, HasSubstr("\"chain\":[\"encrypt\",\"decrypt\",\"firewall\"]"));
}

TEST_F(StateMachine, nothing_is_installed_before_the_domains_have_answered) {
  given(sample::domains);
  given(sample::imaging);
  for (int pass = 0; pass < 5; ++pass) {
    EXPECT_TRUE(InfrastructureOrchestrator(*store, cedar_policies()).reconcile(start));
    EXPECT_TRUE(ApplicationOrchestrator(*store).reconcile(start));
  }
  EXPECT_EQ(phase(*store, "imaging"), "PolicyChecked");
  for (const auto& trace : traces(*store, "imaging")) EXPECT_THAT(trace, testing::Not(HasSubstr("route")));
}

TEST_F(StateMachine, a_refusing_authoriser_denies_with_its_reason) {
  given(sample::domains);
  given(sample::imaging);
  settle(*store, start, "research");
  EXPECT_EQ(phase(*store, "imaging"), "Denied");
  EXPECT_THAT(reason(*store, "imaging"), HasSubstr("the authoriser of research refused: not here"));
}

TEST_F(StateMachine, without_permission_the_status_names_the_policy_and_no_domain_is_asked) {
  given(sample::domains);
  given(sample::study);
  settle(*store);
  EXPECT_EQ(phase(*store, "study"), "Denied");
  EXPECT_THAT(reason(*store, "study"), HasSubstr("research-needs-consent"));
  EXPECT_THAT(traces(*store, "study"), testing::ElementsAre("EnvironmentRequest study"));
}

TEST_F(StateMachine, a_revoked_consent_takes_the_routes_in_the_same_pass_and_touches_nobody_else) {
  given(sample::domains);
  given(sample::imaging);
  given(sample::study);
  given(sample::consent);
  settle(*store);
  ASSERT_EQ(phase(*store, "study"), "Running") << reason(*store, "study");
  const auto untouched = sample::status(*store, "imaging");

  ASSERT_TRUE(store->remove("Consent", "p-0042"));
  ASSERT_TRUE(InfrastructureOrchestrator(*store, cedar_policies()).reconcile(start));
  for (const auto& trace : traces(*store, "study")) EXPECT_THAT(trace, testing::Not(HasSubstr("route")));
  settle(*store);
  EXPECT_EQ(phase(*store, "study"), "Denied");
  EXPECT_EQ(sample::status(*store, "imaging"), untouched);

  given(sample::consent);
  settle(*store);
  EXPECT_EQ(phase(*store, "study"), "Running");
}

TEST_F(StateMachine, a_consent_that_ends_is_in_the_routes_and_in_the_next_look) {
  given(sample::domains);
  given(sample::study);
  given("apiVersion: epif/v1\nkind: Consent\nmetadata: {name: p}\nspec: {subject: p, flows: [study/send], purposes: [research], "
        "expires: \"2026-11-18T12:00:00Z\"}\n");  // `start` is 2026-11-18T11:06:40Z
  settle(*store);
  ASSERT_EQ(phase(*store, "study"), "Running") << reason(*store, "study");
  const auto assignment = parse_assignment(store->get(assignment_kind, "umc/modality")->spec);
  const auto end = std::chrono::sys_seconds(std::chrono::floor<std::chrono::hours>(start) + std::chrono::hours(1));
  EXPECT_EQ(assignment->routes.routes.at(0).expires, end);
  settle(*store, Time(end));
  EXPECT_EQ(phase(*store, "study"), "Denied");
}

TEST_F(StateMachine, an_alias_rests_from_the_agents_report_on_and_is_looked_at_again_at_its_end) {
  const auto range = Cidr::parse("198.18.0.0/15").value();
  auto domains = std::string(sample::domains);
  domains.insert(domains.find("addresses: [10.2.0.10,"), "hostname: pacs.research, ");
  given(domains);
  given(sample::imaging);
  settle(*store, start, {}, range);
  ASSERT_EQ(phase(*store, "imaging"), "Running") << reason(*store, "imaging");
  const auto aliases = [&] { return parse_assignment(store->get(assignment_kind, "umc/modality")->spec)->aliases; };
  ASSERT_EQ(aliases().size(), 1u);
  EXPECT_EQ(aliases()[0].freed, 0u);
  stop("imaging");
  EXPECT_TRUE(ApplicationOrchestrator(*store).reconcile(start));
  EXPECT_TRUE(InfrastructureOrchestrator(*store, cedar_policies(), range).reconcile(start));
  const auto record = store->get(assignment_kind, "umc/modality");
  ASSERT_EQ(aliases().size(), 1u);
  EXPECT_EQ(aliases()[0].freed, record->generation);
  EXPECT_EQ(Time(aliases()[0].until), Time()) << "its agent has not reported";
  settle(*store, start, {}, range);
  EXPECT_EQ(Time(aliases()[0].until), start + alias_rest);
  InfrastructureOrchestrator later(*store, cedar_policies(), range);
  EXPECT_TRUE(later.reconcile(start));
  EXPECT_LE(later.next_look(), start + alias_rest);
}

TEST_F(StateMachine, a_node_that_is_removed_and_added_again_knows_which_aliases_its_programs_may_have) {
  const auto range = Cidr::parse("198.18.0.0/15").value();
  const auto named = [](const std::string& name) {
    auto domains = std::string(sample::domains);
    return domains.insert(domains.find("addresses: [10.2.0.10,"), "hostname: " + name + ", ");
  };
  const auto spec = [&] { return store->get(assignment_kind, "umc/modality")->spec; };
  given(named("pacs.research"));
  given(sample::imaging);
  settle(*store, start, {}, range);
  const auto alias = parse_assignment(spec())->aliases.at(0).address;
  ASSERT_TRUE(store->remove("Application", "imaging"));
  ASSERT_TRUE(store->remove("Node", "umc/modality"));
  settle(*store, start, {}, range);
  const auto removal = parse_removal(spec());
  ASSERT_TRUE(removal) << spec();
  ASSERT_EQ(removal->aliases.size(), 1u);
  EXPECT_EQ(removal->aliases[0].address, alias);
  EXPECT_EQ(removal->aliases[0].freed, store->get(assignment_kind, "umc/modality")->generation);
  EXPECT_EQ(Time(removal->aliases[0].until), Time());

  given(named("pacs.research"));
  InfrastructureOrchestrator again(*store, cedar_policies(), range);
  EXPECT_TRUE(again.reconcile(start));
  const auto back = parse_assignment(spec());
  ASSERT_TRUE(back);
  ASSERT_EQ(back->aliases.size(), 1u);
  EXPECT_EQ(back->aliases[0].address, alias);
  EXPECT_EQ(back->aliases[0].freed, store->get(assignment_kind, "umc/modality")->generation);
  EXPECT_EQ(Time(back->aliases[0].until), Time()) << "its agent has not reported";
  EXPECT_EQ(std::ranges::count(back->routes.refusals, CaptureTarget{{alias, 32}, {}}, &Refusal::destination), 1);
  settle(*store, start, {}, range);
  EXPECT_EQ(Time(parse_assignment(spec())->aliases.at(0).until), start + alias_rest);

  // Nor is it forgotten while a proxy has the node's name.
  ASSERT_TRUE(store->remove("Node", "umc/modality"));
  given("apiVersion: epif/v1\nkind: ProxyNode\nmetadata: {name: modality, domain: umc}\nspec: {addresses: [10.1.0.10]}\n");
  settle(*store, start, {}, range);
  const auto proxy = parse_assignment(spec());
  ASSERT_EQ(proxy->role, Role::proxy);
  ASSERT_EQ(proxy->aliases.size(), 1u);
  EXPECT_EQ(proxy->aliases[0].address, alias);
  EXPECT_TRUE(proxy->routes.refusals.empty());
}

TEST_F(StateMachine, aliases_are_remembered_from_an_assignment_that_another_version_wrote) {
  const auto range = Cidr::parse("198.18.0.0/15").value();
  given(sample::domains);
  settle(*store, start, {}, range);
  const auto record = store->get(assignment_kind, "umc/modality");
  auto assignment = *parse_assignment(record->spec);
  assignment.aliases = {{"pacs.research", *IpAddress::parse("198.18.0.9")}};
  auto newer = print(assignment);
  newer.insert(newer.find("\"routes\":{") + 10, "\"notYet\":1,");
  ASSERT_FALSE(parse_assignment(newer));
  ASSERT_TRUE(store->put(std::string(assignment_kind), "umc/modality", record->metadata, newer));
  EXPECT_TRUE(InfrastructureOrchestrator(*store, cedar_policies(), range).reconcile(start));
  const auto after = parse_assignment(store->get(assignment_kind, "umc/modality")->spec);
  ASSERT_TRUE(after);
  ASSERT_EQ(after->aliases.size(), 1u);
  EXPECT_EQ(after->aliases[0].address, assignment.aliases[0].address);
  EXPECT_EQ(after->aliases[0].freed, store->get(assignment_kind, "umc/modality")->generation);
}

TEST_F(StateMachine, where_no_alias_is_left_the_application_fails_says_until_when_and_comes_back_by_itself) {
  const auto range = Cidr::parse("198.18.0.0/30").value();  // two names
  const auto named = [](const std::string& name) {
    auto domains = std::string(sample::domains);
    domains.insert(domains.find("addresses: [10.2.0.10,"), "hostname: " + name + ", ");
    return domains.insert(domains.find("addresses: [10.3.0.10]"), "hostname: backup.vendor, ");
  };
  auto other = std::string(sample::imaging);
  other.replace(other.find("imaging"), 7, "backup");
  other.replace(other.find("research/pacs"), 13, "vendor/backup");
  other.replace(other.find("push"), 4, "pull");
  given(named("pacs.research"));
  given(sample::imaging);
  settle(*store, start, {}, range);
  given(other);
  settle(*store, start, {}, range);
  ASSERT_EQ(phase(*store, "imaging"), "Running") << reason(*store, "imaging");
  ASSERT_EQ(phase(*store, "backup"), "Running") << reason(*store, "backup");

  given(named("new.research"));
  settle(*store, start, {}, range);
  EXPECT_EQ(phase(*store, "imaging"), "Failed");
  EXPECT_EQ(reason(*store, "imaging"),
            "flow send: no alias is left for new.research: of the 2 addresses of 198.18.0.0/30, 1 are in use and 1 rest; "
            "run the orchestrator with a wider --alias-range, or wait: one is free at 2026-11-18T12:06:40Z at the latest");
  EXPECT_THAT(traces(*store, "imaging"), testing::Not(testing::Contains(HasSubstr("route"))));
  EXPECT_EQ(phase(*store, "backup"), "Running");
  settle(*store, start + alias_rest - std::chrono::seconds(1), {}, range);
  EXPECT_EQ(phase(*store, "imaging"), "Failed");
  settle(*store, start + alias_rest, {}, range);
  EXPECT_EQ(phase(*store, "imaging"), "Running") << reason(*store, "imaging");
}

TEST_F(StateMachine, stop_takes_everything_down_and_says_when_that_is_done) {
  given(sample::domains);
  given(sample::imaging);
  settle(*store);
  stop("imaging");
  EXPECT_TRUE(ApplicationOrchestrator(*store).reconcile(start));
  EXPECT_TRUE(InfrastructureOrchestrator(*store, cedar_policies()).reconcile(start));
  EXPECT_TRUE(ApplicationOrchestrator(*store).reconcile(start));
  EXPECT_EQ(phase(*store, "imaging"), "Stopping");
  settle(*store);
  EXPECT_EQ(phase(*store, "imaging"), "Stopped");
  EXPECT_TRUE(traces(*store, "imaging").empty());
  stop("imaging", false);
  settle(*store);
  EXPECT_EQ(phase(*store, "imaging"), "Running");
}

TEST_F(StateMachine, a_deleted_application_leaves_nothing) {
  given(sample::domains);
  given(sample::imaging);
  settle(*store);
  ASSERT_TRUE(store->remove("Application", "imaging"));
  settle(*store);
  EXPECT_TRUE(traces(*store, "imaging").empty());
}

TEST_F(StateMachine, a_later_application_that_conflicts_fails_and_the_earlier_one_goes_on) {
  given(sample::domains);
  given(sample::consent);
  given(sample::imaging);
  settle(*store);
  std::string rival(sample::imaging);
  rival.replace(rival.find("imaging"), 7, "a-rival");  // earlier by name, later by time
  rival.replace(rival.find("purpose: treatment"), 18, "purpose: research ");
  given("apiVersion: epif/v1\nkind: Consent\nmetadata: {name: r}\nspec: {subject: r, flows: [a-rival/send], purposes: [research]}\n");
  given(rival);
  settle(*store);
  EXPECT_EQ(phase(*store, "imaging"), "Running");
  EXPECT_EQ(phase(*store, "a-rival"), "Failed");
  EXPECT_THAT(reason(*store, "a-rival"), HasSubstr("conflict"));
}

TEST_F(StateMachine, a_function_that_cannot_start_fails_the_application_cleans_up_and_is_not_tried_for_ever) {
  given(sample::domains);
  given(sample::imaging);
  const auto report_broken = [&] {
    const auto all_assignment_kind = store->list(assignment_kind);
    for (const auto& record : all_assignment_kind->records) {
      auto report = record.status.empty() ? AssignmentReport{} : *parse_report(record.status);
      for (auto& part : report.instances) part = {part.name, "failed", 0, "it ended with 139"};
      ASSERT_TRUE(store->put_status(std::string(assignment_kind), record.name, print(report)));
    }
  };
  for (int round = 0; round < 12; ++round) {
    ASSERT_TRUE(InfrastructureOrchestrator(*store, cedar_policies()).reconcile(start));
    ASSERT_TRUE(ApplicationOrchestrator(*store).reconcile(start));
    sample::agents_act(*store);
    report_broken();
  }
  EXPECT_EQ(phase(*store, "imaging"), "Failed");
  EXPECT_THAT(reason(*store, "imaging"), HasSubstr("it ended with 139"));
  EXPECT_EQ(traces(*store, "imaging"), std::vector<std::string>{"EnvironmentRequest imaging"});
  stop("imaging");
  settle(*store);
  stop("imaging", false);
  settle(*store);
  EXPECT_EQ(phase(*store, "imaging"), "Running");
}

TEST_F(StateMachine, a_removed_node_leaves_a_note_for_its_agent_until_no_certificate_of_that_time_is_valid) {
  given(sample::domains);
  settle(*store);
  const auto assigned = store->get(assignment_kind, "vendor/backup");
  ASSERT_TRUE(assigned);
  ASSERT_TRUE(store->remove("Node", "vendor/backup"));
  settle(*store);
  const auto noted = store->get(assignment_kind, "vendor/backup");
  ASSERT_TRUE(noted);
  EXPECT_FALSE(parse_assignment(noted->spec));
  const auto removal = parse_removal(noted->spec);
  ASSERT_TRUE(removal) << noted->spec;
  EXPECT_EQ(removal->node, "vendor/backup");
  EXPECT_GE(removal->revision, assigned->version);
  settle(*store);
  EXPECT_EQ(store->get(assignment_kind, "vendor/backup")->version, noted->version) << "written once";

  const auto later = std::chrono::system_clock::time_point(removal->at) + std::chrono::days(limits::certificate_valid_days);
  ASSERT_TRUE(InfrastructureOrchestrator(*store, cedar_policies()).reconcile(later));
  EXPECT_TRUE(store->get(assignment_kind, "vendor/backup"));
  ASSERT_TRUE(InfrastructureOrchestrator(*store, cedar_policies()).reconcile(later + std::chrono::seconds(1)));
  EXPECT_FALSE(store->get(assignment_kind, "vendor/backup"));
  given(sample::domains);
  settle(*store);
  EXPECT_TRUE(parse_assignment(store->get(assignment_kind, "vendor/backup")->spec)) << "added again";
}

TEST_F(StateMachine, every_decision_is_audited_in_an_unbroken_chain) {
  given(sample::domains);
  given(sample::study);
  given(sample::consent);
  settle(*store);
  ASSERT_TRUE(store->remove("Consent", "p-0042"));
  settle(*store);
  const auto lines = store->audit(0, 1000);
  ASSERT_TRUE(lines);
  EXPECT_EQ(store::first_broken_line(*lines), 0u);
  EXPECT_THAT(lines->back().entry, HasSubstr("\"decision\":\"Denied\""));
  EXPECT_THAT(lines->back().entry, HasSubstr("policyVersion"));
}

/// Fails one write call, either before it is done or after; then every later one, as if the process had died there.
class CrashingStore final : public store::Store {
 public:
  CrashingStore(store::Store& inner, int at, bool after) : inner_(inner), at_(at), after_(after) {}
  [[nodiscard]] int writes() const { return count_; }

  Result<store::Record> get(std::string_view kind, std::string_view name) override { return inner_.get(kind, name); }
  Result<store::Listing> list(std::string_view kind) override { return inner_.list(kind); }
  Result<store::Revision> commit(std::span<const store::Write> writes) override {
    return crash([&] { return inner_.commit(writes); });
  }
  Result<std::vector<store::Event>> events(std::string_view kind, store::Revision after, std::size_t limit) override {
    return inner_.events(kind, after, limit);
  }
  store::Revision revision() override { return inner_.revision(); }
  store::Revision wait(store::Revision after, std::chrono::steady_clock::time_point deadline) override {
    return inner_.wait(after, deadline);
  }
  store::Subscription subscribe(std::function<void()> callback) override { return inner_.subscribe(std::move(callback)); }
  Result<> compact(store::Revision until) override { return inner_.compact(until); }
  Result<store::AuditLine> append_audit(std::string_view entry) override {
    return crash([&] { return inner_.append_audit(entry); });
  }
  Result<std::vector<store::AuditLine>> audit(std::uint64_t after, std::size_t limit) override { return inner_.audit(after, limit); }

 private:
  template <class Action>
  auto crash(Action action) -> decltype(action()) {
    const int now = count_++;
    if (now > at_ || (now == at_ && !after_)) return fail(Code::io, "the process died here");
    auto result = action();
    if (now == at_) return fail(Code::io, "the process died here");
    return result;
  }
  store::Store& inner_;
  int at_;
  bool after_;
  int count_ = 0;
};

/// What users and agents do in the life of two applications, in order.
using Act = std::function<void(StateMachine&)>;
const std::vector<Act> life{
    [](StateMachine& test) { test.given(sample::imaging); },
    [](StateMachine& test) { test.given(sample::study); },
    [](StateMachine& test) { test.given(sample::consent); },
    [](StateMachine& test) { EXPECT_TRUE(test.store->remove("Consent", "p-0042")); },
    [](StateMachine& test) { test.stop("imaging"); },
    [](StateMachine& test) { EXPECT_TRUE(test.store->remove("Application", "study")); },
};

/// Everything but times and versions, to compare two stores.
std::string content(store::Store& store) {
  std::string out;
  const auto all_records = store.list("");
  for (const auto& record : all_records->records) {
    auto status = record.status;
    if (record.kind == assignment_kind) status.clear();  // counts generations
    if (record.kind == environment_request_kind) status = status.substr(0, status.find("\"installed\""));
    out += record.kind + " " + record.name + " " + (record.kind == environment_request_kind ? "" : record.spec) + " " + status + "\n";
  }
  return out;
}

/// Runs the acts; `at` counts the durable writes of both orchestrators over the whole life and one of them is the last that
/// the process makes: a new one takes over. Returns how many writes the first process had the chance to make.
int live(StateMachine& test, int at, bool after) {
  test.given(sample::domains);
  CrashingStore crashing(*test.store, at, after);
  bool dead = false;
  for (const auto& act : life) {
    act(test);
    for (int round = 0; round < 50; ++round) {
      const auto before = test.store->revision();
      store::Store& used = dead ? *test.store : crashing;
      if (!InfrastructureOrchestrator(used, cedar_policies()).reconcile(start) || !ApplicationOrchestrator(used).reconcile(start)) {
        EXPECT_FALSE(dead);
        dead = true;
        continue;
      }
      sample::agents_act(*test.store);
      if (test.store->revision() == before) break;
    }
  }
  return crashing.writes();
}

TEST(Crash, after_a_crash_before_or_after_any_durable_write_the_same_state_is_reached) {
  struct Bare final : StateMachine {
    void TestBody() override {}
  };
  Bare calm;
  const int writes = live(calm, 1'000'000, false);
  ASSERT_GT(writes, 20);
  const auto wanted = content(*calm.store);
  EXPECT_TRUE(traces(*calm.store, "imaging").empty());
  for (int at = 0; at < writes; ++at) {
    for (const bool after : {false, true}) {
      Bare crashed;
      live(crashed, at, after);
      ASSERT_EQ(content(*crashed.store), wanted) << "crash " << (after ? "after" : "before") << " write " << at;
    }
  }
}

}  // namespace
}  // namespace epif::orchestrator
