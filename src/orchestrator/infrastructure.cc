#include "orchestrator/infrastructure.h"

#include "base/limits.h"
#include "model/quantity.h"
#include "orchestrator/environment.h"
#include "orchestrator/expiry.h"
#include "orchestrator/installation.h"
#include "orchestrator/naming.h"
#include "orchestrator/requests.h"

namespace epif::orchestrator {
namespace {

/// One pass over the store's content. Order: judge, ask the domains, derive what stands on each node, compare, commit.
class Pass {
 public:
  Pass(World& world, const PolicySource& policies, const std::optional<Cidr>& alias_range, InfrastructureOrchestrator::Time now)
      : world_(world), policies_(policies), alias_range_(alias_range), now_(now), second_(std::chrono::floor<std::chrono::seconds>(now)) {}

  [[nodiscard]] std::vector<store::Write> run() {
    environments_ = read_environments(world_);
    std::vector<std::string> order;
    for (auto& environment : environments_) {
      if (!environment.application || environment.request.stop) continue;
      order.push_back(environment.name);
      world_.resources.applications[environment.name] = *environment.application;
    }
    judgement_ = judge(world_.resources, order, policies_, second_, alias_range_);
    reports_ = read_reports(world_);
    recall();
    Requests requests(world_, judgement_, reports_, now_);
    for (auto& environment : environments_) requests.advance(environment);
    give_names(requests);
    install_routes(order);
    write_requests(requests);
    write_assignments();
    for (auto& environment : environments_) write_status(environment);
    return std::move(writes_);
  }

  [[nodiscard]] std::chrono::sys_seconds next_end() const { return next_end_; }
  [[nodiscard]] const std::vector<std::string>& audit() const { return audit_; }

 private:
  /// What earlier passes assigned and this one must keep to.
  void recall() {
    for (const auto& [name, record] : world_.assignments) {
      // Most have none, and reading all is most of a pass.
      const bool named = record.spec.contains("\"aliases\":") || (alias_range_ && record.spec.contains("\"name\":"));
      if (!named && !record.spec.contains("\"nginx\":")) continue;
      const auto before = parse_assignment(record.spec);
      if (!before) {
        note_aliases(name, parse_aliases(record.spec), record.generation, told_);
        continue;
      }
      note_nginx_ports(*before, nginx_ports_);
      const auto report = reports_.find(name);
      const auto in_place = report == reports_.end() ? 0 : report->second.generation;
      note_aliases(*before, record.generation, in_place, second_, alias_range_, told_);
    }
  }

  /// Whoever is refused or has failed holds no alias: it would lack to others, and nobody would use it.
  void give_names(Requests& requests) {
    Askers askers;
    for (const auto& environment : environments_) {
      const auto phase = environment.status.phase;
      const bool ended = phase == Phase::denied || phase == Phase::unfeasible || phase == Phase::failed;
      if (environment.may_install) askers.granted.push_back(environment.name);
      else if (!environment.request.stop && !ended) askers.waiting.push_back(environment.name);
    }
    names_ = give_aliases(judgement_, world_.resources, askers, {alias_range_, told_, world_.resources, second_});
    for (auto& environment : environments_) {
      const auto judged = judgement_.applications.find(environment.name);
      if (judged != judgement_.applications.end() && judged->second.kind != environment.verdict.kind) requests.start_over(environment);
    }
  }

  void install_routes(const std::vector<std::string>& order) {
    const auto ends = flow_ends(world_.resources, order, judgement_, policies_, second_);
    next_end_ = ends.next_look;
    InstallationInput input{.resources = world_.resources, .plan = judgement_.plan};
    for (const auto& environment : environments_) {
      if (environment.may_install) input.granted.insert(environment.name);
      else input.refused[environment.name] = environment.status.reason;
    }
    for (const auto& [name, report] : reports_) {
      if (!report.public_key.empty()) input.public_keys[name] = report.public_key;
    }
    input.nginx_ports = nginx_ports_;
    input.alias_range = alias_range_;
    input.aliases = told_;
    input.names = names_;
    input.now = second_;
    input.expires = ends.flows;
    input.default_expires = ends.ordinary;
    input.policy_version = world_.policy_version;
    assignments_ = install(input);
    for (const auto& [name, assignment] : assignments_) {
      for (const auto& one : assignment.aliases) {
        if (one.until > second_) next_end_ = std::min(next_end_, one.until);
      }
    }
  }

  void write_requests(const Requests& requests) {
    const auto write = [&](std::string_view kind, const auto& wanted, const auto& existing) {
      for (const auto& [name, request] : wanted) put(kind, name, print(request), existing);
      for (const auto& [name, record] : existing) {
        if (!wanted.contains(name)) remove(kind, name);
      }
    };
    write(access_request_kind, requests.access(), world_.access);
    write(node_request_kind, requests.nodes(), world_.nodes);
  }

  void write_assignments() {
    for (const auto& [name, assignment] : assignments_) {
      const auto found = world_.assignments.find(name);
      auto text = print(assignment);
      const bool same = found != world_.assignments.end() && found->second.spec == text;
      generations_[name] = found == world_.assignments.end() ? 1 : found->second.generation + (same ? 0 : 1);
      put(assignment_kind, name, std::move(text), world_.assignments);
    }
    for (const auto& [name, record] : world_.assignments) {
      if (assignments_.contains(name)) continue;
      const auto removal = parse_removal(record.spec);
      // An agent that is away needs the proof when it comes back; without a valid certificate it cannot come back.
      if (!removal) {
        const Removal note{name, world_.revision, second_, told_next(told_[name], {}, {}, second_)};
        put(assignment_kind, name, print(note), world_.assignments);
      } else if (second_ - removal->at > std::chrono::days(limits::certificate_valid_days)) {
        remove(assignment_kind, name);
      }
    }
  }

  void write_status(Environment& environment) {
    const auto before = environment.before;
    follow_installation(environment, {assignments_, generations_, reports_});
    if (environment.may_install && environment.status.phase == Phase::failed) {
      environment.status.latch = latch_of(environment, world_.resources);
    }
    keep_times(environment.status, before, print_instant(now_));
    environment.status.observed = environment.record->generation;
    if (auto text = print(environment.status, Detail::internal); text != environment.record->status) {
      writes_.push_back({.type = store::Write::Type::put_status, .kind = std::string(environment_request_kind),
                         .name = environment.name, .body = std::move(text)});
    }
    if (before.phase != environment.status.phase || before.flows != environment.status.flows) {
      audit_.push_back(audit_entry(environment, world_.policy_version));
    }
  }

  void put(std::string_view kind, const std::string& name, std::string spec,
           const std::map<std::string, store::Record>& existing) {
    const auto found = existing.find(name);
    if (found != existing.end() && found->second.spec == spec) return;
    writes_.push_back({.type = store::Write::Type::put, .kind = std::string(kind), .name = name,
                       .metadata = metadata_of(name), .body = std::move(spec)});
  }
  void remove(std::string_view kind, const std::string& name) {
    writes_.push_back({.type = store::Write::Type::remove, .kind = std::string(kind), .name = name});
  }

  World& world_;
  const PolicySource& policies_;
  const std::optional<Cidr>& alias_range_;
  InfrastructureOrchestrator::Time now_;
  std::chrono::sys_seconds second_;
  std::vector<Environment> environments_;
  Judgement judgement_;
  Reports reports_;
  std::map<std::string, Assignment> assignments_;
  NginxPorts nginx_ports_;
  ToldAliases told_;
  Names names_;
  std::map<std::string, std::uint64_t> generations_;
  std::chrono::sys_seconds next_end_{};
  std::vector<store::Write> writes_;
  std::vector<std::string> audit_;
};

}  // namespace

Result<> InfrastructureOrchestrator::reconcile(Time now) {
  auto world = read_world(store_);
  if (!world) return fail(world.error());
  Pass pass(*world, policies_, alias_range_, now);
  const auto writes = pass.run();
  next_look_ = pass.next_end();
  // The decision is on record before it takes effect: a crash in between repeats the line, it never loses it.
  for (const auto& entry : pass.audit()) {
    auto line = store_.append_audit(entry);
    if (!line) return fail(line.error());
  }
  if (writes.empty()) return {};
  auto done = store_.commit(writes);
  if (!done) return fail(done.error());
  return {};
}

}  // namespace epif::orchestrator
