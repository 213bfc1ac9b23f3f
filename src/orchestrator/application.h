#pragma once
#include <chrono>

#include "base/error.h"
#include "store/store.h"

namespace epif::orchestrator {

/// The application orchestrator (Fig. 1, steps 1, 7 and 8): turns each Application into an EnvironmentRequest (step 2), and
/// what becomes of it into the Application's status. Knows nothing about nodes and routes, so that another application
/// orchestrator can stand in its place. Level-triggered like InfrastructureOrchestrator.
class ApplicationOrchestrator {
 public:
  using Time = std::chrono::system_clock::time_point;
  explicit ApplicationOrchestrator(store::Store& store) : store_(store) {}

  /// One pass. Errors as of InfrastructureOrchestrator::reconcile.
  [[nodiscard]] Result<> reconcile(Time now);

 private:
  store::Store& store_;
};

}  // namespace epif::orchestrator
