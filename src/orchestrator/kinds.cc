#include "orchestrator/kinds.h"

#include "model/assignment.h"

namespace epif::orchestrator {

api::Kinds all_kinds() {
  using api::Reach;
  auto kinds = api::Kinds::of_users();
  kinds.add({.name = std::string(environment_request_kind), .plural = "environmentrequests", .users_write = false});
  for (const auto& [kind, plural] : {std::pair{access_request_kind, "accessrequests"}, {node_request_kind, "noderequests"}}) {
    kinds.add({.name = std::string(kind), .plural = plural, .in_domain = true, .users_write = false,
               .agent_reads = Reach::own_domain, .agent_writes_status = Reach::own_domain});
  }
  kinds.add({.name = std::string(assignment_kind), .plural = "assignments", .in_domain = true, .users_write = false,
             .agent_reads = Reach::own_node, .agent_writes_status = Reach::own_node});
  return kinds;
}

}  // namespace epif::orchestrator
