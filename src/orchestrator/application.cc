#include "orchestrator/application.h"

#include <boost/json.hpp>

#include "api/resources.h"
#include "orchestrator/status.h"
#include "orchestrator/world.h"

namespace epif::orchestrator {
namespace {

const std::string application_kind{name(Kind::application)};

/// Whether an environment exists whose work is over: nothing of it is left on any node.
bool is_down(const store::Record& environment) {
  const auto status = parse_status(environment.status);
  return status && status->phase == Phase::stopped;
}

Status status_without_environment(bool stopped) {
  Status status;
  status.phase = stopped ? Phase::stopped : Phase::submitted;
  status.reason = stopped ? "stopped; nothing of it is left on any node" : "handed to the infrastructure orchestrator";
  status.set(Step::submit, StepState::done, stopped ? "stopped on request" : "received");
  return status;
}

/// Step 8. The application's programs are the domains' own; they may connect from now on.
void orchestrate_application(Status& status) {
  if (status.phase != Phase::ready) return;
  status.phase = Phase::running;
  status.reason = "all flows are open";
  status.set(Step::orchestrate_application, StepState::done, "its programs may connect");
}

/// `current`: the environment was asked for what the Application says now, not for an older content of it.
Status status_from(const store::Record& environment, bool current, bool stopped) {
  auto status = parse_status(environment.status);
  if (!status || !current || status->observed != environment.generation) return status_without_environment(false);
  status->set(Step::submit, StepState::done, "received");
  if (stopped && status->phase != Phase::stopped && status->phase != Phase::stopping) {
    status->phase = Phase::stopping;
    status->reason = "being stopped";
  }
  orchestrate_application(*status);
  return std::move(*status);
}

class Pass {
 public:
  Pass(store::Store& store, World world, std::string now) : store_(store), world_(std::move(world)), now_(std::move(now)) {}

  Result<> run() {
    for (const auto& [name, application] : world_.applications) reconcile(application);
    for (const auto& [name, environment] : world_.environments) {
      if (!world_.applications.contains(name) && is_ours(environment)) remove(environment);
    }
    if (writes_.empty()) return {};
    auto done = store_.commit(writes_);
    if (!done) return fail(done.error());
    return {};
  }

 private:
  /// Environments of other application orchestrators are theirs to remove.
  static bool is_ours(const store::Record& environment) {
    return environment.metadata.find("\"owner\":\"epif\"") != std::string::npos;
  }

  void reconcile(const store::Record& application) {
    const bool stopped = api::is_stopped(application);
    const auto found = world_.environments.find(application.name);
    const auto* environment = found == world_.environments.end() ? nullptr : &found->second;
    if (environment && stopped && is_down(*environment)) {
      remove(*environment);
      environment = nullptr;
    }
    const bool current = !(environment || !stopped) || !submit(application, environment, stopped);
    auto status = environment ? status_from(*environment, current, stopped) : status_without_environment(stopped);
    status.observed = application.generation;
    const auto before = parse_status(application.status);
    keep_times(status, before ? *before : Status{}, now_);
    auto text = print(status, Detail::user);
    if (text != application.status) {
      writes_.push_back({.type = store::Write::Type::put_status, .kind = application_kind, .name = application.name,
                         .body = std::move(text)});
    }
  }

  /// Whether the request had to be written.
  bool submit(const store::Record& application, const store::Record* environment, bool stopped) {
    EnvironmentRequest request;
    request.application = api::source_document(application);
    request.stop = stopped;
    request.order = world_.revision;
    if (environment) {
      if (const auto before = parse_environment(environment->spec)) request.order = before->order;
    }
    auto spec = print(request);
    if (environment && environment->spec == spec) return false;
    writes_.push_back({.type = store::Write::Type::put,
                       .kind = std::string(environment_request_kind),
                       .name = application.name,
                       .metadata = boost::json::serialize(boost::json::object{{"name", application.name}, {"owner", "epif"}}),
                       .body = std::move(spec)});
    return true;
  }

  void remove(const store::Record& environment) {
    writes_.push_back({.type = store::Write::Type::remove, .kind = environment.kind, .name = environment.name});
  }

  store::Store& store_;
  World world_;
  std::string now_;
  std::vector<store::Write> writes_;
};

}  // namespace

Result<> ApplicationOrchestrator::reconcile(Time now) {
  auto world = read_world(store_);
  if (!world) return fail(world.error());
  return Pass(store_, std::move(*world), print_instant(now)).run();
}

}  // namespace epif::orchestrator
