#include "api/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>

#include "api/resources.h"
#include "model/document.h"
#include "model/pretty_json.h"
#include "model/resource.h"

namespace epif::api {
namespace {

namespace json = boost::json;

json::object parse_or_empty(const std::string& text) {
  json::error_code bad;
  auto value = json::parse(text.empty() ? "{}" : text, bad);
  return bad || !value.is_object() ? json::object() : std::move(value.as_object());
}

std::string text_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (!value || value->is_null()) return {};
  if (const auto* number = value->if_double()) return fmt::format("{}", *number);  // JSON would say 0E0
  return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

const json::array* array_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value ? value->if_array() : nullptr;
}

std::string joined(const json::object& object, std::string_view key, std::string_view between) {
  std::string text;
  if (const auto* items = array_at(object, key)) {
    for (const auto& item : *items) {
      if (!text.empty()) text += between;
      text += item.is_string() ? std::string(item.as_string()) : json::serialize(item);
    }
  }
  return text;
}

/// Bytes of a terminal's control language in a stored text must not reach the terminal.
std::string printable(std::string text) {
  for (auto& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}", printable(row[i]), i + 1 < row.size() ? widths[i] + 2 : 0);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

void indent(std::string& out, const json::value& value, std::size_t depth) {
  const std::string margin(2 * depth + 2, ' ');
  const auto line = [&](std::string_view head, const json::value& item) {
    if ((item.is_object() && !item.as_object().empty()) || (item.is_array() && !item.as_array().empty())) {
      out += fmt::format("{}{}\n", margin, head);
      indent(out, item, depth + 1);
      return;
    }
    const auto text = item.is_string() ? printable(std::string(item.as_string())) : json::serialize(item);
    out += fmt::format("{}{} {}\n", margin, head, text);
  };
  if (const auto* object = value.if_object()) {
    for (const auto& [key, item] : *object) line(std::string(key) + ":", item);
  } else if (const auto* array = value.if_array()) {
    for (const auto& item : *array) line("-", item);
  }
}

/// The directions of all flows in an application's status.
std::vector<json::object> flows_of(const store::Record& application) {
  std::vector<json::object> flows;
  const auto status = parse_or_empty(application.status);
  if (const auto* items = array_at(status, "flows")) {
    for (const auto& item : *items) {
      if (item.is_object()) flows.push_back(item.as_object());
    }
  }
  return flows;
}

std::string explain_direction(const json::object& flow) {
  const auto or_none = [](std::string text) { return text.empty() ? std::string("none") : text; };
  const auto verdict = text_at(flow, "verdict");
  std::vector<std::vector<std::string>> rows{
      {"  verdict", verdict},
      {"  data", fmt::format("{}, from {} to {}", text_at(flow, "direction"), text_at(flow, "from"), text_at(flow, "to"))},
      {"  gap", or_none(joined(flow, "gap", ", "))}};
  if (const auto missing = joined(flow, "missing", ", "); !missing.empty()) rows.push_back({"  missing", missing});
  rows.push_back({"  chain", or_none(joined(flow, "chain", " > "))});
  rows.push_back({"  proxies", or_none(joined(flow, "proxies", " > "))});
  if (const auto method = text_at(flow, "method"); !method.empty()) rows.push_back({"  method", method});
  if (const auto set_up = text_at(flow, "predicted_setup_ms"); !set_up.empty()) rows.push_back({"  set-up", set_up + " ms predicted"});
  const auto policies = joined(flow, "policies", ", ");
  rows.push_back({"  policy", policies.empty() ? text_at(flow, "policy") : policies});
  rows.push_back({"  reason", text_at(flow, "reason")});
  return fmt::format("{}, {}\n", printable(text_at(flow, "name")), printable(text_at(flow, "direction"))) + aligned(rows);
}

}  // namespace

std::string kind_word(std::string_view typed) {
  if (const auto kind = parse_kind(typed)) return std::string(name(*kind));
  std::string word(typed);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (word.size() > 1 && word.ends_with('s')) word.pop_back();  // paths take "<kind>s"
  return word;
}

std::string table(const store::Listing& listing, bool wide) {
  std::vector<std::vector<std::string>> rows{{"NAME", "PHASE"}};
  if (wide) rows[0] = {"NAME", "PHASE", "GENERATION", "VERSION", "SPEC"};
  for (const auto& record : listing.records) {
    const auto phase = text_at(parse_or_empty(record.status), "phase");
    std::vector<std::string> row{record.name, phase.empty() ? "-" : phase};
    if (wide) row.insert(row.end(), {std::to_string(record.generation), std::to_string(record.version), record.spec});
    rows.push_back(std::move(row));
  }
  return aligned(rows);
}

std::string describe(const store::Record& record) {
  std::string text = fmt::format("{} {}\n  version {}, generation {}\n", record.kind, record.name, record.version, record.generation);
  text += "spec\n";
  indent(text, parse_or_empty(record.spec), 0);
  if (!record.status.empty()) {
    text += "status\n";
    indent(text, parse_or_empty(record.status), 0);
  }
  return text;
}

std::string yaml(const store::Record& record) {
  if (parse_kind(record.kind)) {
    if (auto resource = parse_resource(source_document(record), record.name)) return to_yaml(*resource);
  }
  return pretty_record(record);  // JSON is YAML, too
}

std::string pretty_record(const store::Record& record) {
  return print_pretty(json::parse(print_record(record)));
}

std::string StepLine::text() const {
  return printable(fmt::format("{}/8 {:<22} {:<10} {}", number, step, state, reason));
}

ApplicationView ApplicationView::of(const store::Record& application) {
  const auto status = parse_or_empty(application.status);
  ApplicationView view{.phase = text_at(status, "phase"), .reason = printable(text_at(status, "reason")), .observed = 0, .steps = {}, .flows = {}};
  json::error_code none;
  if (const auto* observed = status.if_contains("observedGeneration")) view.observed = observed->to_number<std::uint64_t>(none);
  if (const auto* conditions = array_at(status, "conditions")) {
    for (const auto& item : *conditions) {
      const auto* condition = item.if_object();
      const auto* number = condition ? condition->if_contains("number") : nullptr;
      if (!number) continue;
      view.steps.push_back({number->to_number<int>(none), text_at(*condition, "step"), text_at(*condition, "status"), text_at(*condition, "reason")});
    }
  }
  std::vector<std::vector<std::string>> rows{{"FLOW", "DIRECTION", "VERDICT", "CHAIN", "REASON"}};
  for (const auto& flow : flows_of(application)) {
    const auto chain = joined(flow, "chain", " > ");
    rows.push_back({text_at(flow, "name"), text_at(flow, "direction"), text_at(flow, "verdict"), chain.empty() ? "-" : chain, text_at(flow, "reason")});
  }
  if (rows.size() > 1) view.flows = aligned(rows);
  return view;
}

bool ApplicationView::settled(std::uint64_t generation) const {
  if (observed < generation) return false;
  constexpr std::string_view final_phases[] = {"Ready", "Running", "Stopped", "Denied", "Unfeasible", "Failed"};
  return std::ranges::find(final_phases, phase) != std::end(final_phases);
}

Result<FlowView> explain(const store::Record& application, std::string_view flow) {
  FlowView view;
  std::string known;
  for (const auto& direction : flows_of(application)) {
    const auto name = text_at(direction, "name");
    if (known.find(name) == std::string::npos) known += (known.empty() ? "" : ", ") + name;
    if (name != flow) continue;
    const auto verdict = text_at(direction, "verdict");
    view.possible = view.possible && verdict != "denied" && verdict != "unfeasible";
    view.text += explain_direction(direction);
  }
  if (!view.text.empty()) return view;
  return fail(Code::not_found, "no such flow", fmt::format("{}/{}", application.name, flow), {},
              known.empty() ? "the orchestrator has not judged this application yet" : "there are " + known);
}

}  // namespace epif::api
