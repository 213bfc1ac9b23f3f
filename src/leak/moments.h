#pragma once
#include <stop_token>
#include <vector>

#include "leak/verdict.h"
#include "leak/ways_out.h"

/// The moments in which a guard could be open: start, rule swap, removal and return of an interface, crash, restart, stop. Each
/// in a lab of two namespaces, with redirectors of this program and a guarded program that never stops trying.
namespace epif::leak {

/// One finding a moment. Errors: permission, unsupported, io. Ends early, with what it has, when asked to stop. What a crash of an
/// earlier run left in /run is removed first.
[[nodiscard]] Result<std::vector<Finding>> try_moments(const OnFinding& found, const std::stop_token& stop);

}  // namespace epif::leak
