#include <boost/json.hpp>
#include <cassert>

#include "api/resources.h"
#include "api/target.h"

namespace epif::api {
namespace {

namespace json = boost::json;

json::value schema_or(const std::string& text, const char* otherwise) { return json::parse(text.empty() ? otherwise : text); }

std::string lower(std::string text) {
  for (auto& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// "/v1/{kind}/{name*}" as OpenAPI writes it: "/v1/{kind}/{name}".
std::string openapi_path(std::string_view pattern) {
  std::string path(pattern);
  std::erase(path, '*');
  return path;
}

json::array parameters(const Router::Entry& entry) {
  json::array all;
  for (const auto part : raw_segments(entry.pattern)) {
    if (!part.starts_with('{')) continue;
    std::string name(part.substr(1, part.size() - 2));
    std::erase(name, '*');
    all.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  return all;
}

json::object operation(const Router::Entry& entry) {
  json::object result{{"summary", entry.note.summary}};
  if (auto all = parameters(entry); !all.empty()) result["parameters"] = std::move(all);
  if (!entry.note.request_schema.empty()) {
    result["requestBody"] = {{"required", true}, {"content", {{"application/json", {{"schema", json::parse(entry.note.request_schema)}}}}}};
  }
  const json::object ok{{"description", "done"},
                        {"content", {{"application/json", {{"schema", schema_or(entry.note.response_schema, R"({"type":"object"})")}}}}}};
  const json::object error{{"description", "what went wrong"},
                           {"content", {{"application/json", {{"schema", {{"$ref", "#/components/schemas/Error"}}}}}}}};
  result["responses"] = {{"2XX", ok}, {"default", error}};
  if (entry.note.anonymous) result["security"] = json::array();
  return result;
}

json::object schemas(const Kinds& kinds) {
  json::object all;
  json::array names;
  for (const auto& kind : kinds.all()) {
    names.push_back(json::value(kind.name));
    all[kind.name + "Spec"] = schema_or(kind.schema, R"({"type":"object"})");
  }
  all["Resource"] = json::parse(R"({"type":"object","required":["kind","metadata","spec"],"properties":{
    "apiVersion":{"const":"epif/v1"},"kind":{"type":"string"},"metadata":{"type":"object","required":["name"],"properties":{
    "name":{"type":"string"},"domain":{"type":"string"},"labels":{"type":"object"},"version":{"type":"integer"},
    "generation":{"type":"integer"},"desired":{"type":"string"}}},"spec":{"type":"object"},"status":{"type":"object"}}})");
  all["Resource"].as_object()["properties"].as_object()["kind"].as_object()["enum"] = std::move(names);
  all["List"] = json::parse(R"({"type":"object","properties":{"revision":{"type":"integer"},
    "items":{"type":"array","items":{"$ref":"#/components/schemas/Resource"}}}})");
  all["Error"] = json::parse(R"({"type":"object","required":["code","what"],"properties":{"code":{"type":"string"},
    "what":{"type":"string"},"where":{"type":"string"},"why":{"type":"string"},"advice":{"type":"string"}}})");
  return all;
}

}  // namespace

std::string openapi(const Router& router, const Kinds& kinds) {
  json::object paths;
  for (const auto& entry : router.entries()) {
    auto& path = paths[openapi_path(entry.pattern)];
    if (!path.is_object()) path = json::object();
    path.as_object()[lower(entry.method)] = operation(entry);
  }
  const json::object document{
      {"openapi", "3.1.0"},
      {"info", {{"title", "epif orchestrator"}, {"version", "1"}, {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
      {"paths", std::move(paths)},
      {"components",
       {{"schemas", schemas(kinds)},
        {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}, {"certificate", {{"type", "mutualTLS"}}}}}}},
      {"security", json::array{json::object{{"token", json::array()}}, json::object{{"certificate", json::array()}}}}};
  return json::serialize(document);
}

}  // namespace epif::api
