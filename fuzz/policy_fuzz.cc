// Policy text, then (after a NUL byte) entities and (after another) a request, as JSON; without them a fixed world.
// Whatever comes: no crash, equal answers to equal questions, and nothing allowed without a permit that says so.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policy/authorize.h"

namespace {

using namespace epif::policy;

constexpr std::string_view world_json = R"([
  {"uid": {"type": "User", "id": "a"}, "parents": [{"type": "Group", "id": "g"}], "tags": {"t": 1},
   "attrs": {"n": -9223372036854775808, "s": "text", "b": true, "r": {"a": {"b": 1}}, "set": [1, "x", {"a": 1}],
             "e": {"__entity": {"type": "User", "id": "b"}}, "ip": {"__extn": {"fn": "ip", "arg": "10.0.0.0/8"}},
             "d": {"__extn": {"fn": "decimal", "arg": "1.5"}}, "t": {"__extn": {"fn": "datetime", "arg": "2024-02-29"}},
             "l": {"__extn": {"fn": "duration", "arg": "1d2h"}}}},
  {"uid": {"type": "Group", "id": "g"}, "parents": [{"type": "Group", "id": "all"}]}])";
constexpr std::string_view request_json =
    R"({"principal": "User::\"a\"", "action": "Action::\"x\"", "resource": "User::\"b\"", "context": {"b": false, "n": 1}})";

std::string_view cut(std::string_view& rest) {
  const auto end = std::min(rest.find('\0'), rest.size());
  const auto part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(data, data + size);
  std::string_view rest = input;
  const auto text = cut(rest);
  const auto entities_text = rest.empty() ? world_json : cut(rest);
  const auto request_text = rest.empty() ? request_json : cut(rest);
  const auto policies = parse_policies(text, "fuzz.cedar");
  if (!policies) require(policies.error().text().starts_with("fuzz.cedar"));
  const auto entities = Entities::parse(entities_text, "entities.json");
  const auto request = Request::parse(request_text, "request.json");
  if (!policies || !entities || !request) return 0;
  const auto decision = authorize(*policies, *entities, *request);
  const auto again = authorize(*policies, *entities, *request);
  require(decision.allow == again.allow && decision.reason == again.reason);
  bool permitted = false;
  for (const auto& policy : policies->policies) {
    permitted = permitted || (policy.effect == Effect::permit && scope_matches(policy, *entities, *request));
  }
  require(!decision.allow || (permitted && !decision.reason.empty()));
  require(decision.allow || decision.required_attributes.empty());
  (void)nearest_permit(*policies, *entities, *request);
  return 0;
}
