#include "policy/case.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>

#include "policy/json_value.h"

namespace epif::policy {
namespace json = boost::json;

namespace {

Result<std::string> text_field(const json::object& object, std::string_view key, std::string_view where) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) {
    return fail(Code::invalid_input, fmt::format("the field {} is missing or no text", key), std::string(where));
  }
  return std::string(value->get_string());
}

std::vector<std::string> sorted_texts(const json::object& object, std::string_view key) {
  std::vector<std::string> texts;
  const auto* value = object.if_contains(key);
  if (value != nullptr && value->is_array()) {
    for (const auto& item : value->get_array()) {
      if (item.is_string()) texts.emplace_back(item.get_string());
    }
  }
  std::ranges::sort(texts);
  return texts;
}

Result<CaseRequest> case_request(const json::value& value, std::string_view where) {
  const auto* object = value.if_object();
  if (object == nullptr) return fail(Code::invalid_input, "a request is no object", std::string(where));
  auto request = Request::from_json(*object, where);
  if (!request) return fail(std::move(request.error()));
  const auto decision = text_field(*object, "decision", where);
  if (!decision) return fail(decision.error());
  if (*decision != "allow" && *decision != "deny") {
    return fail(Code::invalid_input, fmt::format("the decision is {}", quoted(*decision)), std::string(where), {},
                "write allow or deny");
  }
  const auto* description = object->if_contains("description");
  return CaseRequest{description != nullptr && description->is_string() ? std::string(description->get_string()) : "",
                     std::move(*request), *decision == "allow", sorted_texts(*object, "reason"),
                     sorted_texts(*object, "errors")};
}

}  // namespace

bool Case::looks_like(std::string_view text) {
  const auto document = parse_json(text, "case");
  const auto* object = document ? document->if_object() : nullptr;
  return object != nullptr && object->contains("policies") && object->contains("requests");
}

Result<Case> Case::parse(std::string_view text, std::string_view name) {
  const auto document = parse_json(text, name);
  if (!document) return fail(document.error());
  const auto* object = document->if_object();
  if (object == nullptr) return fail(Code::invalid_input, "not an object", std::string(name));
  auto policies = text_field(*object, "policies", name);
  if (!policies) return fail(std::move(policies.error()));
  auto entities = text_field(*object, "entities", name);
  if (!entities) return fail(std::move(entities.error()));
  const auto* requests = object->if_contains("requests");
  if (requests == nullptr || !requests->is_array()) {
    return fail(Code::invalid_input, "the field requests is missing or no list", std::string(name));
  }
  Case result{std::move(*policies), std::move(*entities), {}};
  for (const auto& item : requests->get_array()) {
    auto request = case_request(item, fmt::format("{}: request {}", name, result.requests.size()));
    if (!request) return fail(std::move(request.error()));
    result.requests.push_back(std::move(*request));
  }
  return result;
}

std::string difference(const CaseRequest& expected, const Decision& decision) {
  std::vector<std::string> errors;
  for (const auto& error : decision.errors) errors.push_back(error.id);
  std::string out;
  const auto differ = [&out](std::string_view what, const std::string& wanted, const std::string& got) {
    if (wanted != got) out += fmt::format("{}{} should be {} and is {}", out.empty() ? "" : "; ", what, wanted, got);
  };
  differ("decision", expected.allow ? "allow" : "deny", decision.allow ? "allow" : "deny");
  differ("reason", fmt::format("{}", expected.reason), fmt::format("{}", decision.reason));
  differ("errors", fmt::format("{}", expected.errors), fmt::format("{}", errors));
  return out;
}

}  // namespace epif::policy
