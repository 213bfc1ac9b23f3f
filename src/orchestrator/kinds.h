#pragma once
#include "api/kinds.h"

namespace epif::orchestrator {

/// The user's kinds, and those by which the orchestrators and the agents speak (model/assignment.h): users only read these;
/// an agent reads the requests of its own domain, answers those, and reports on its own Assignment.
[[nodiscard]] api::Kinds all_kinds();

}  // namespace epif::orchestrator
