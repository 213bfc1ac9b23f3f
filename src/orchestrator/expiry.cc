#include "orchestrator/expiry.h"

#include <set>

#include "base/limits.h"

namespace epif::orchestrator {

FlowEnds flow_ends(const ResourceSet& resources, const std::vector<std::string>& oldest_first, const Judgement& now_judged,
                   const PolicySource& policies, std::chrono::sys_seconds now) {
  const auto hour = std::chrono::floor<std::chrono::hours>(now);
  FlowEnds out;
  out.ordinary = hour + std::chrono::seconds(limits::route_expiry_s);
  out.next_look = hour + std::chrono::hours(1);
  std::set<std::chrono::sys_seconds> moments;
  for (const auto& [name, consent] : resources.consents) {
    if (consent.expires && *consent.expires > now && *consent.expires < out.ordinary) moments.insert(*consent.expires);
  }
  if (!moments.empty()) out.next_look = std::min(out.next_look, *moments.begin());
  for (const auto moment : moments) {
    const auto then = judge(resources, oldest_first, policies, moment);
    for (const auto& [application, verdict] : now_judged.applications) {
      const auto later = then.applications.find(application);
      if (later == then.applications.end() || later->second.kind == Verdict::Kind::possible) continue;
      for (const auto& install : verdict.installs) out.flows.try_emplace(application + "/" + install.flow, moment);
    }
  }
  return out;
}

}  // namespace epif::orchestrator
