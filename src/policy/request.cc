#include "policy/request.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "policy/json_value.h"

namespace epif::policy {
namespace json = boost::json;

Result<Request> Request::parse(std::string_view text, std::string_view name) {
  auto document = parse_json(text, name);
  if (!document) return fail(std::move(document.error()));
  const auto* object = document->if_object();
  if (object == nullptr) return fail(Code::invalid_input, "not a request: an object is expected", std::string(name));
  return from_json(*object, name);
}

Result<Request> Request::from_json(const json::object& object, std::string_view name) {
  Request request;
  const std::pair<std::string_view, EntityUid*> parts[] = {
      {"principal", &request.principal}, {"action", &request.action}, {"resource", &request.resource}};
  for (const auto& [key, into] : parts) {
    const auto where = fmt::format("{}: {}", name, key);
    const auto* value = object.if_contains(key);
    if (value == nullptr) return fail(Code::invalid_input, fmt::format("the request has no {}", key), std::string(name));
    auto uid = uid_from_json(*value, where);
    if (!uid) return fail(std::move(uid.error()));
    *into = std::move(*uid);
  }
  auto context = record_from_json(object.if_contains("context"), fmt::format("{}: context", name));
  if (!context) return fail(std::move(context.error()));
  request.context = Value::record(std::move(*context));
  return request;
}

}  // namespace epif::policy
