#include "api/access.h"

#include <fmt/format.h>

namespace epif::api {
namespace {

Error refused(const Caller& caller, const Kind& kind, std::string_view name, std::string_view act) {
  return {Code::denied, fmt::format("{} may not {}", caller.text(), act), fmt::format("{} {}", kind.name, name), {}, {}};
}

}  // namespace

bool reaches(Reach reach, std::string_view agent, std::string_view name) {
  const auto domain = agent.substr(0, agent.find('/') + 1);  // with its slash, so that "umc" does not reach "umc2/x"
  switch (reach) {
    case Reach::none: return false;
    case Reach::own_node: return name == agent;
    case Reach::own_domain: return !domain.empty() && name.starts_with(domain);
    case Reach::any: return true;
  }
  return false;
}

bool may_read(const Caller& caller, const Kind& kind, std::string_view name) {
  if (caller.may_administer()) return true;
  return caller.kind == Caller::Kind::agent && reaches(kind.agent_reads, caller.name, name);
}

Result<> check_write(const Caller& caller, const Kind& kind, std::string_view name) {
  if (caller.may_administer() && kind.users_write) return {};
  if (caller.kind == Caller::Kind::agent && reaches(kind.agent_writes_spec, caller.name, name)) return {};
  return fail(refused(caller, kind, name, kind.users_write ? "write this" : "write this: only the orchestrator does"));
}

Result<> check_status_write(const Caller& caller, const Kind& kind, std::string_view name) {
  if (caller.may_administer() && kind.users_write) return {};
  if (caller.kind == Caller::Kind::agent && reaches(kind.agent_writes_status, caller.name, name)) return {};
  return fail(refused(caller, kind, name, "write this status"));
}

}  // namespace epif::api
