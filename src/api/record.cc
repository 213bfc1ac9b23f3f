#include <fmt/format.h>

#include <boost/json.hpp>
#include <cctype>

#include "api/resource_path.h"
#include "api/resources.h"
#include "api/target.h"

namespace epif::api {
namespace {

namespace json = boost::json;

/// Stored text is JSON that this program printed.
json::object stored_object(const std::string& text) {
  if (text.empty()) return {};
  return json::parse(text).as_object();
}

json::object to_object(const store::Record& record) {
  auto metadata = stored_object(record.metadata);
  metadata["version"] = record.version;
  metadata["generation"] = record.generation;
  json::object object{{"apiVersion", "epif/v1"}, {"kind", record.kind}, {"metadata", std::move(metadata)}, {"spec", stored_object(record.spec)}};
  if (!record.status.empty()) object["status"] = stored_object(record.status);
  return object;
}

Error broken(std::string_view what) {
  return {Code::protocol, "not a resource as the API prints it", {}, std::string(what), {}};
}

const json::object* object_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value ? value->if_object() : nullptr;
}

std::string string_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  const auto* text = value ? value->if_string() : nullptr;
  return text ? std::string(*text) : std::string();
}

std::uint64_t number_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  json::error_code bad;
  const auto number = value ? value->to_number<std::uint64_t>(bad) : 0;
  return bad ? 0 : number;
}

Result<store::Record> to_record(const json::value& value) {
  const auto* object = value.if_object();
  const auto* metadata = object ? object_at(*object, "metadata") : nullptr;
  const auto* spec = object ? object_at(*object, "spec") : nullptr;
  if (!metadata || !spec) return fail(broken("metadata or spec is missing"));
  store::Record record;
  record.kind = string_at(*object, "kind");
  const auto domain = string_at(*metadata, "domain");
  record.name = (domain.empty() ? "" : domain + "/") + string_at(*metadata, "name");
  record.version = number_at(*metadata, "version");
  record.generation = number_at(*metadata, "generation");
  if (record.kind.empty() || record.name.empty()) return fail(broken("kind or metadata.name is missing"));
  auto kept = *metadata;
  kept.stable_erase("version");  // stable: equal content stays equal text
  kept.stable_erase("generation");
  record.metadata = json::serialize(kept);
  record.spec = json::serialize(*spec);
  if (const auto* status = object_at(*object, "status")) record.status = json::serialize(*status);
  return record;
}

}  // namespace

std::string print_record(const store::Record& record) { return json::serialize(to_object(record)); }

Result<store::Record> parse_record(std::string_view text) {
  json::error_code bad;
  const auto value = json::parse(text, bad);
  if (bad) return fail(broken(bad.message()));
  return to_record(value);
}

std::string source_document(const store::Record& record) {
  const auto metadata = stored_object(record.metadata);
  json::object kept;
  for (const auto* key : {"name", "domain", "labels"}) {
    if (const auto* value = metadata.if_contains(key)) kept[key] = *value;
  }
  return json::serialize(json::object{
      {"apiVersion", "epif/v1"}, {"kind", record.kind}, {"metadata", std::move(kept)}, {"spec", stored_object(record.spec)}});
}

bool is_stopped(const store::Record& application) {
  return string_at(stored_object(application.metadata), "desired") == "stopped";
}

std::string resource_path(std::string_view kind, std::string_view name) {
  std::string path = "/v1/";
  for (const char c : kind) path += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  path += 's';
  while (!name.empty()) {
    const auto slash = std::min(name.find('/'), name.size());
    path += "/" + encode(name.substr(0, slash));
    name.remove_prefix(std::min(slash + 1, name.size()));
  }
  return path;
}

std::string print_listing(const store::Listing& listing) {
  json::array items;
  for (const auto& record : listing.records) items.push_back(to_object(record));
  json::object out{{"apiVersion", "epif/v1"}, {"kind", "List"}, {"revision", listing.revision}, {"items", std::move(items)}};
  if (!listing.store.empty()) out["store"] = listing.store;
  return json::serialize(out);
}

Result<store::Listing> parse_listing(std::string_view text) {
  json::error_code bad;
  const auto value = json::parse(text, bad);
  const auto* object = bad ? nullptr : value.if_object();
  const auto* items = object && object->contains("items") ? object->at("items").if_array() : nullptr;
  if (!items) return fail(broken("not a list"));
  store::Listing listing{.revision = number_at(*object, "revision"), .records = {}, .store = string_at(*object, "store")};
  for (const auto& item : *items) {
    auto record = to_record(item);
    if (!record) return fail(std::move(record.error()));
    listing.records.push_back(std::move(*record));
  }
  return listing;
}

}  // namespace epif::api
