#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "planner/plan.h"

namespace epif::planner {
namespace {

/// A quoted Graphviz string.
std::string quoted(std::string_view text) {
  std::string made = "\"";
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') made += '\\';
    made += byte;
  }
  return made + "\"";
}

std::string list(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

std::string_view color(Verdict verdict) {
  switch (verdict) {
    case Verdict::supported: return "darkgreen";
    case Verdict::bridged: return "blue";
    case Verdict::unfeasible: return "red";
    case Verdict::denied: break;
  }
  return "gray40";
}

std::string flow_label(const DirectionPlan& flow) {
  auto text = fmt::format("{} ({})", flow.flow, name(flow.verdict));
  std::vector<std::string> chain;
  for (const auto& placed : flow.chain) chain.push_back(placed.function);
  if (!chain.empty()) text += ": " + list(chain);
  if (!flow.missing.empty()) text += ": lacks " + list(flow.missing);
  return text;
}

}  // namespace

std::string print_dot(const Plan& plan) {
  std::string out = "digraph plan {\n  rankdir=LR;\n  compound=true;\n  node [shape=box];\n";
  std::vector<std::string> anchors;
  for (std::size_t at = 0; at < plan.areas.size(); ++at) {
    const auto& area = plan.areas[at];
    out += fmt::format("  subgraph cluster_{} {{\n    label={};\n", at, quoted("{" + list(area.attributes) + "}"));
    for (const auto& node : area.nodes) out += fmt::format("    {};\n", quoted(node));
    out += "  }\n";
    anchors.push_back(area.nodes.front());
  }
  for (const auto& channel : plan.channels) {
    out += fmt::format("  {} -> {} [ltail=cluster_{}, lhead=cluster_{}, style=dotted, color=gray];\n",
                       quoted(anchors[channel.from]), quoted(anchors[channel.to]), channel.from, channel.to);
  }
  for (const auto& flow : plan.flows) {
    const bool push = flow.direction == DataDirection::push;
    out +=
        fmt::format("  {} -> {} [label={}, color={}, fontcolor={}];\n", quoted(push ? flow.from : flow.to),
                    quoted(push ? flow.to : flow.from), quoted(flow_label(flow)), color(flow.verdict), color(flow.verdict));
  }
  return out + "}\n";
}

}  // namespace epif::planner
