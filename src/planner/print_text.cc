#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "planner/plan.h"
#include "planner/words.h"

namespace epif::planner {
namespace {

constexpr std::size_t line_bytes = 100;

std::string list_or(const std::vector<std::string>& list, std::string_view nothing) {
  std::string text;
  for (const auto& item : list) text += (text.empty() ? "" : ", ") + item;
  return text.empty() ? std::string(nothing) : text;
}

/// `text` behind `head`, broken at spaces, further lines below the first word.
void put(std::string& out, std::string_view head, std::string_view text) {
  std::string line(head);
  const std::string inset(head.size(), ' ');
  bool fresh = true;
  while (!text.empty()) {
    const auto space = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, space);
    if (!fresh && line.size() + 1 + word.size() > line_bytes) {
      out += line + "\n";
      line = inset;
      fresh = true;
    }
    line += fresh ? "" : " ";
    line += word;
    fresh = false;
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  out += line + "\n";
}

std::string area_name(std::size_t at) {
  return fmt::format("A{}", at + 1);
}

void print_areas(std::string& out, const Plan& plan) {
  out += "Areas (nodes with equal attributes)\n";
  for (std::size_t at = 0; at < plan.areas.size(); ++at) {
    const auto& area = plan.areas[at];
    put(out, fmt::format("  {:<4} ", area_name(at)), "{" + list_or(area.attributes, "") + "}");
    put(out, "         ", list_or(area.nodes, ""));
  }
  if (plan.areas.empty()) out += "  none\n";
}

void print_channels(std::string& out, const Plan& plan) {
  out += "\nChannels (data may move without any function)\n";
  for (std::size_t at = 0; at < plan.channels.size();) {
    const auto from = plan.channels[at].from;
    std::vector<std::string> to;
    for (; at < plan.channels.size() && plan.channels[at].from == from; ++at) to.push_back(area_name(plan.channels[at].to));
    put(out, fmt::format("  {:<4} => ", area_name(from)), list_or(to, ""));
  }
  if (plan.channels.empty()) out += "  none between different areas\n";
}

/// "umc/modality > umc/umc-proxy [firewall, encrypt] > research/pacs"
std::string way(const DirectionPlan& flow) {
  std::string text = flow.from;
  for (const auto& proxy : flow.proxies) {
    std::vector<std::string> held;
    for (const auto& placed : flow.chain) {
      if (placed.proxy == proxy) held.push_back(placed.function);
    }
    text += " > " + proxy + (held.empty() ? "" : " [" + list_or(held, "") + "]");
  }
  return text + " > " + flow.to;
}

void print_flow(std::string& out, const DirectionPlan& flow) {
  const bool push = flow.direction == DataDirection::push;
  out += fmt::format("  {}/{}  {}: data from {} to {}\n", flow.application, flow.flow, epif::name(flow.direction),
                     push ? flow.from : flow.to, push ? flow.to : flow.from);
  std::string verdict(name(flow.verdict));
  std::ranges::transform(verdict, verdict.begin(), [](char letter) { return static_cast<char>(letter - 'a' + 'A'); });
  out += fmt::format("    verdict  {}\n", verdict);
  if (!flow.gap.empty()) put(out, "    gap      ", list_or(flow.gap, ""));
  if (!flow.missing.empty()) put(out, "    missing  ", list_or(flow.missing, ""));
  if (flow.verdict == Verdict::bridged || flow.verdict == Verdict::supported) {
    put(out, "    way      ", way(flow));
    out += fmt::format("    method   {}, {:.1f} ms to set up (floor {:.1f} ms)\n", epif::name(flow.method),
                       flow.predicted_setup_ms, flow.floor_ms);
  }
  if (!flow.policies.empty()) put(out, "    policy   ", list_or(flow.policies, ""));
  put(out, "    why      ", flow.reason);
}

void print_summary(std::string& out, const Plan& plan) {
  const auto count = [&](Verdict verdict) { return std::ranges::count(plan.flows, verdict, &DirectionPlan::verdict); };
  const auto unfeasible = count(Verdict::unfeasible);
  out += fmt::format("\nSummary: {} supported, {} bridged, {} unfeasible, {} denied\n", count(Verdict::supported),
                     count(Verdict::bridged), unfeasible, count(Verdict::denied));
  out += fmt::format("Unfeasibility ratio: {:.2f} ({} of {} that need a chain)\n", plan.unfeasibility_ratio, unfeasible,
                     unfeasible + count(Verdict::bridged));
}

}  // namespace

std::string print_text(const Plan& plan) {
  std::string out;
  print_areas(out, plan);
  print_channels(out, plan);
  out += "\nFlows (each direction of data by itself; a way runs from client to server)\n";
  for (std::size_t at = 0; at < plan.flows.size(); ++at) {
    if (at > 0) out += "\n";
    print_flow(out, plan.flows[at]);
  }
  if (plan.flows.empty()) out += "  none\n";
  if (!plan.conflicts.empty()) out += "\nConflicts\n";
  for (const auto& conflict : plan.conflicts) {
    put(out, "  ", fmt::format("{} and {}: {}", conflict.first, conflict.second, conflict.reason));
  }
  print_summary(out, plan);
  for (const auto& warning : plan.warnings) put(out, "Note: ", warning);
  return out;
}

}  // namespace epif::planner
