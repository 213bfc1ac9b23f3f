#include "api/endpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/log.h"

namespace epif::api {

namespace json = boost::json;

void Endpoints::audit(const Caller& caller, std::string_view act, std::string_view object) {
  const json::object entry{{"who", caller.text()}, {"act", act}, {"object", object}};
  auto line = services.store->append_audit(json::serialize(entry));
  if (!line) log::error("audit", line.error(), {{"act", std::string(act)}, {"object", std::string(object)}});
}

Response json_response(std::string body, int status) {
  if (!body.ends_with('\n')) body += '\n';
  return {.status = status, .body = std::move(body)};
}

Result<std::vector<std::string>> text_fields(std::string_view body, std::initializer_list<std::string_view> fields,
                                             std::initializer_list<std::string_view> optional) {
  json::error_code bad;
  const auto value = json::parse(body, bad);
  const auto* object = bad ? nullptr : value.if_object();
  if (!object) return fail(Code::invalid_input, "the body is not a JSON object", "request", bad ? bad.message() : std::string());
  for (const auto& [key, given] : *object) {
    const std::string_view field(key);
    const bool known = std::ranges::find(fields, field) != fields.end() || std::ranges::find(optional, field) != optional.end();
    if (!known) return fail(Code::invalid_input, "unknown field", std::string(key));
    if (!given.is_string()) return fail(Code::invalid_input, "must be a text", std::string(key));
  }
  std::vector<std::string> texts;
  for (const auto field : fields) {
    const auto* given = object->if_contains(field);
    if (!given) return fail(Code::invalid_input, "field is missing", std::string(field));
    texts.emplace_back(given->as_string());
  }
  for (const auto field : optional) {
    const auto* given = object->if_contains(field);
    texts.emplace_back(given ? std::string(given->as_string()) : std::string());
  }
  return texts;
}

Result<std::uint64_t> number(const Request& request, const std::string& key, std::uint64_t otherwise) {
  const auto found = request.query.find(key);
  if (found == request.query.end()) return otherwise;
  const auto& text = found->second;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(Code::invalid_input, "not a whole number", fmt::format("{}={}", key, text));
  }
  return value;
}

void add_endpoints(Router& router, Services services) {
  const auto shared = std::make_shared<Endpoints>(std::move(services));
  add_resource_routes(router, shared);
  add_decision_routes(router, shared);
  add_member_routes(router, shared);
  add_system_routes(router, shared);
}

}  // namespace epif::api
