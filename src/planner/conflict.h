#pragma once
#include <vector>

#include "planner/plan.h"

namespace epif::planner {

/// Finds feasible flows with equal source, destination and port whose chain or purpose differs and whose selectors do not
/// tell them apart (each names another user, or each another cgroup); and, where NGINX carries one of them, also those whose
/// method, direction of data or selector differs. All of them become not feasible, with the reason.
[[nodiscard]] std::vector<Conflict> settle_conflicts(std::vector<Install>& installs);

}  // namespace epif::planner
