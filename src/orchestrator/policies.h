#pragma once
#include "orchestrator/judgement.h"

namespace epif::orchestrator {

/// All Policy and Consent resources at one moment, as the planner asks them. Without any policy every flow is denied.
[[nodiscard]] PolicySource cedar_policies();

}  // namespace epif::orchestrator
