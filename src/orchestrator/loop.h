#pragma once
#include <optional>
#include <stop_token>

#include "base/ip.h"
#include "orchestrator/judgement.h"
#include "store/store.h"

namespace epif::orchestrator {

/// Runs both orchestrators after every change of the store until `stop` (noticed within a second). An error of the store is
/// logged once and tried again; nothing is lost meanwhile, since each pass starts from what is stored. `alias_range`: as of
/// InfrastructureOrchestrator.
void reconcile_until(store::Store& store, const PolicySource& policies, const std::stop_token& stop,
                     const std::optional<Cidr>& alias_range = {});

}  // namespace epif::orchestrator
