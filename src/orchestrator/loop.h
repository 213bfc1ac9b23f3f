#pragma once
#include <stop_token>

#include "orchestrator/judgement.h"
#include "store/store.h"

namespace epif::orchestrator {

/// Runs both orchestrators after every change of the store until `stop` (noticed within a second). An error of the store is
/// logged once and tried again; nothing is lost meanwhile, since each pass starts from what is stored.
void reconcile_until(store::Store& store, const PolicySource& policies, const std::stop_token& stop);

}  // namespace epif::orchestrator
