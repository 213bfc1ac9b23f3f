#include "api/kinds.h"

#include <algorithm>
#include <cassert>
#include <cctype>

namespace epif::api {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

}  // namespace

Kinds Kinds::of_users() {
  Kinds kinds;
  kinds.add({.name = "Domain", .plural = "domains", .agent_reads = Reach::any});
  kinds.add({.name = "Node", .plural = "nodes", .in_domain = true, .agent_reads = Reach::own_domain,
             .agent_writes_status = Reach::own_node});
  kinds.add({.name = "ProxyNode", .plural = "proxynodes", .in_domain = true, .agent_reads = Reach::own_domain,
             .agent_writes_status = Reach::own_node});
  kinds.add({.name = "BridgingFunction", .plural = "bridgingfunctions", .agent_reads = Reach::any});
  kinds.add({.name = "Attributes", .plural = "attributes", .agent_reads = Reach::any});
  kinds.add({.name = "Policy", .plural = "policies"});
  kinds.add({.name = "Consent", .plural = "consents"});
  kinds.add({.name = "Application", .plural = "applications"});
  return kinds;
}

void Kinds::add(Kind kind) {
  assert(!kind.name.empty() && !kind.plural.empty() && find(kind.name) == nullptr);
  kinds_.push_back(std::move(kind));
}

const Kind* Kinds::find(std::string_view word) const {
  const auto wanted = lower(word);
  // "policys" is what /v1/<kind>s literally gives; it works besides the English plural.
  const auto found = std::ranges::find_if(kinds_, [&](const Kind& kind) {
    const auto singular = lower(kind.name);
    return wanted == kind.plural || wanted == singular || wanted == singular + "s";
  });
  return found == kinds_.end() ? nullptr : &*found;
}

}  // namespace epif::api
