#include "agent/answers.h"

#include <fmt/format.h>

#include <algorithm>

namespace epif::agent {
namespace {

bool covers(const std::vector<std::string>& list, const std::string& word) {
  return list.empty() || std::ranges::find(list, word) != list.end();
}
bool matches(const AuthoriserRule& rule, const DomainRequest& request) {
  return covers(rule.purposes, request.purpose) && covers(rule.applications, request.application);
}
bool allowed(const std::vector<AuthoriserRule>& rules, const DomainRequest& request) {
  return std::ranges::any_of(rules, [&](const AuthoriserRule& rule) { return matches(rule, request); });
}

DomainAnswer answer(const DomainRequest& request, bool granted, std::string reason) {
  return {request.question(), granted, std::move(reason), request.answerer};
}

}  // namespace

DomainAnswer authorise(const DomainRequest& request, const std::optional<std::vector<AuthoriserRule>>& domain,
                       const LocalRules& local) {
  const auto who = fmt::format("application {} for purpose '{}'", request.application, request.purpose);
  if (allowed(local.deny, request)) return answer(request, false, "a local rule of the domain denies " + who);
  if (local.allow && !allowed(*local.allow, request)) return answer(request, false, "no local rule of the domain allows " + who);
  if (domain && !allowed(*domain, request)) return answer(request, false, "no authoriser rule of the domain allows " + who);
  return answer(request, true, domain || local.allow ? "allowed by the domain's rules" : "the domain has no rules against it");
}

DomainAnswer provision(const DomainRequest& request, const LocalRules& local, const ImageCheck& image) {
  for (const auto& node : request.nodes) {
    if (std::ranges::find(local.withheld, node) != local.withheld.end()) {
      return answer(request, false, "the domain withholds " + node);
    }
  }
  for (const auto& name : request.images) {
    if (auto there = image(name); !there) return answer(request, false, there.error().text());
  }
  return answer(request, true, fmt::format("{} nodes are given", request.nodes.size()));
}

}  // namespace epif::agent
