#include <gtest/gtest.h>

#include "api/resources.h"
#include "model/assignment.h"
#include "orchestrator/application.h"
#include "orchestrator/infrastructure.h"
#include "orchestrator/policies.h"
#include "orchestrator/sample.h"
#include "store/audit.h"

namespace epif::orchestrator::sample {

ResourceSet resources(std::string_view documents) {
  ResourceSet out;
  auto parsed = parse_resources(documents, "sample");
  if (!parsed) throw std::runtime_error(parsed.error().text());
  for (auto& resource : *parsed) out.put(std::move(resource));
  return out;
}

void apply(store::Store& store, std::string_view documents) {
  auto parsed = parse_resources(documents, "sample");
  ASSERT_TRUE(parsed) << parsed.error().text();
  for (const auto& resource : *parsed) {
    auto record = api::parse_record(to_json(resource));
    ASSERT_TRUE(record) << record.error().text();
    ASSERT_TRUE(store.put(record->kind, record->name, record->metadata, record->spec));
  }
}

std::string status(store::Store& store, const std::string& application) {
  auto record = store.get("Application", application);
  return record ? record->status : std::string();
}

namespace {

bool answer(store::Store& store, std::string_view kind, const std::string& refuse) {
  bool acted = false;
  const auto all_kind = store.list(kind);
  for (const auto& record : all_kind->records) {
    const auto request = parse_request(record.spec);
    const bool granted = kind != access_request_kind || request->domain != refuse;
    const auto text = print(DomainAnswer{request->question(), granted, granted ? "yes" : "not here", request->answerer});
    if (text == record.status) continue;
    acted |= store.put_status(std::string(kind), record.name, text).has_value();
  }
  return acted;
}

}  // namespace

bool agents_act(store::Store& store, const std::string& refuse) {
  bool acted = answer(store, access_request_kind, refuse);
  acted |= answer(store, node_request_kind, refuse);
  const auto all_assignment_kind = store.list(assignment_kind);
  for (const auto& record : all_assignment_kind->records) {
    if (parse_removal(record.spec)) continue;
    const auto assignment = parse_assignment(record.spec);
    if (!assignment) throw std::runtime_error(assignment.error().text());
    AssignmentReport report;
    report.generation = record.generation;
    report.seen = "9999-01-01T00:00:00.000Z";
    if (assignment->role == Role::proxy) report.public_key = "key of " + record.name;
    for (const auto& wished : assignment->instances) report.instances.push_back({wished.name, "running", 4711, ""});
    if (print(report) == record.status) continue;
    acted |= store.put_status(std::string(assignment_kind), record.name, print(report)).has_value();
  }
  return acted;
}

int settle(store::Store& store, std::chrono::system_clock::time_point now, const std::string& refuse,
           const std::optional<Cidr>& alias_range) {
  for (int round = 1; round <= 50; ++round) {
    const auto before = store.revision();
    EXPECT_TRUE(InfrastructureOrchestrator(store, cedar_policies(), alias_range).reconcile(now));
    EXPECT_TRUE(ApplicationOrchestrator(store).reconcile(now));
    agents_act(store, refuse);
    if (store.revision() == before) return round;
  }
  return 0;
}

}  // namespace epif::orchestrator::sample
