#include "orchestrator/loop.h"

#include "base/limits.h"
#include "base/log.h"
#include "orchestrator/application.h"
#include "orchestrator/infrastructure.h"

namespace epif::orchestrator {
namespace {

/// Something changed between reading and writing: the next pass sees it.
bool is_race(const Error& error) { return error.code == Code::conflict || error.code == Code::not_found; }

}  // namespace

void reconcile_until(store::Store& store, const PolicySource& policies, const std::stop_token& stop,
                     const std::optional<Cidr>& alias_range) {
  InfrastructureOrchestrator infrastructure(store, policies, alias_range);
  ApplicationOrchestrator application(store);
  std::string trouble;
  while (!stop.stop_requested()) {
    const auto before = store.revision();
    const auto now = std::chrono::system_clock::now();
    auto done = infrastructure.reconcile(now);
    if (done) done = application.reconcile(now);
    // Only a change makes a second look worthwhile; a store that another process holds also says conflict.
    if (!done && is_race(done.error()) && store.revision() != before) continue;
    const auto text = done ? std::string() : done.error().text();
    if (!done && text != trouble) log::error("orchestrator", done.error());
    trouble = text;
    if (done && store.revision() != before) continue;
    static_cast<void>(store.wait(store.revision() == before ? before : store.revision(),
                                 std::chrono::steady_clock::now() + std::chrono::milliseconds(limits::reconcile_interval_ms)));
  }
}

}  // namespace epif::orchestrator
