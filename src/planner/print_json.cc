#include <boost/json.hpp>
#include <utility>
#include <vector>

#include "model/pretty_json.h"
#include "planner/plan.h"

namespace epif::planner {
namespace {

namespace json = boost::json;

json::array texts(const std::vector<std::string>& list) {
  return json::array(list.begin(), list.end());
}

json::array functions(const std::vector<PlacedFunction>& chain) {
  json::array made;
  for (const auto& placed : chain) made.emplace_back(placed.function);
  return made;
}

json::array placement(const std::vector<PlacedFunction>& chain) {
  json::array made;
  for (const auto& placed : chain) made.push_back(json::object{{"function", placed.function}, {"proxy", placed.proxy}});
  return made;
}

bool carried(Verdict verdict) {
  return verdict == Verdict::supported || verdict == Verdict::bridged;
}

json::object flow_object(const DirectionPlan& flow) {
  json::object made{{"application", flow.application},
                    {"name", flow.flow},
                    {"from", flow.from},
                    {"to", flow.to},
                    {"direction", epif::name(flow.direction)},
                    {"verdict", name(flow.verdict)},
                    {"gap", texts(flow.gap)},
                    {"missing", texts(flow.missing)},
                    {"chain", functions(flow.chain)},
                    {"placement", placement(flow.chain)},
                    {"proxies", texts(flow.proxies)},
                    {"method", nullptr},
                    {"policies", texts(flow.policies)},
                    {"reason", flow.reason},
                    {"predicted_setup_ms", nullptr},
                    {"floor_ms", nullptr}};
  if (carried(flow.verdict)) {
    made["method"] = epif::name(flow.method);
    made["predicted_setup_ms"] = flow.predicted_setup_ms;
    made["floor_ms"] = flow.floor_ms;
  }
  return made;
}

json::object install_object(const Install& install) {
  json::object made{{"application", install.application},
                    {"flow", install.flow},
                    {"from", install.from},
                    {"to", install.to},
                    {"port", install.port},
                    {"data", epif::name(install.data)},
                    {"feasible", install.feasible},
                    {"chain", functions(install.chain)},
                    {"placement", placement(install.chain)},
                    {"proxies", texts(install.proxies)},
                    {"method", nullptr},
                    {"reason", install.reason}};
  if (install.protocol != Protocol::tcp) made["protocol"] = epif::name(install.protocol);
  if (install.feasible) made["method"] = epif::name(install.method);
  return made;
}

}  // namespace

std::string print_json(const Plan& plan) {
  json::array areas;
  for (const auto& area : plan.areas) {
    areas.push_back(json::object{{"attributes", texts(area.attributes)}, {"nodes", texts(area.nodes)}});
  }
  json::array channels;
  for (const auto& channel : plan.channels) channels.push_back(json::object{{"from", channel.from}, {"to", channel.to}});
  json::array flows;
  for (const auto& flow : plan.flows) flows.push_back(flow_object(flow));
  json::array installs;
  for (const auto& install : plan.installs) installs.push_back(install_object(install));
  json::array conflicts;
  for (const auto& conflict : plan.conflicts) {
    conflicts.push_back(json::object{{"first", conflict.first}, {"second", conflict.second}, {"reason", conflict.reason}});
  }
  return print_pretty(json::object{{"areas", std::move(areas)},
                                   {"channels", std::move(channels)},
                                   {"flows", std::move(flows)},
                                   {"installs", std::move(installs)},
                                   {"conflicts", std::move(conflicts)},
                                   {"unfeasibility_ratio", plan.unfeasibility_ratio},
                                   {"warnings", texts(plan.warnings)}});
}

}  // namespace epif::planner
