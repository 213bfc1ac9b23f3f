#include <fmt/format.h>

#include <boost/json.hpp>
#include <iterator>

#include "trace/walk.h"

namespace epif::trace {

std::string print_text(const Answer& answer) {
  std::string out = fmt::format("{} {}\n", answer.protocol == Protocol::tcp ? "tcp" : "udp", answer.destination);
  for (const auto& hop : answer.hops) fmt::format_to(std::back_inserter(out), "  {:<9} {:<8} {}\n", hop.hop, name(hop.state), hop.says);
  for (const auto& refusal : answer.refusals) fmt::format_to(std::back_inserter(out), "  refused   before   {}\n", refusal);
  bool unknown = false;
  for (const auto& hop : answer.hops) unknown = unknown || hop.state == State::unknown;
  fmt::format_to(std::back_inserter(out), "{}{}\n", name(answer.verdict),
                 unknown ? ", as far as this node can see" : "");
  return out;
}

std::string print_json(const Answer& answer) {
  namespace json = boost::json;
  json::array hops;
  for (const auto& hop : answer.hops) {
    json::object facts;
    for (const auto& [key, value] : hop.facts) facts[key] = value;
    hops.push_back(json::object{{"hop", hop.hop}, {"state", name(hop.state)}, {"says", hop.says}, {"facts", std::move(facts)}});
  }
  return json::serialize(json::object{{"destination", answer.destination},
                                      {"protocol", answer.protocol == Protocol::tcp ? "tcp" : "udp"},
                                      {"verdict", name(answer.verdict)},
                                      {"hops", std::move(hops)},
                                      {"refusals", json::array(answer.refusals.begin(), answer.refusals.end())}}) +
         "\n";
}

}  // namespace epif::trace
