#include "orchestrator/world.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "api/resources.h"
#include "model/document.h"

namespace json = boost::json;

namespace epif::orchestrator {
namespace {

std::string fingerprint(const std::map<std::string, Policy>& policies) {
  // FNV-1a: names a version for people and logs, protects nothing.
  std::uint64_t hash = 14695981039346656037ull;
  for (const auto& [name, policy] : policies) {
    for (const char byte : name + "\n" + policy.text + "\n") {
      hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ull;
    }
  }
  return fmt::format("{:012x}", hash >> 16);
}

}  // namespace

std::string print(const EnvironmentRequest& request) {
  return json::serialize(json::object{
      {"application", json::parse(request.application)}, {"stop", request.stop}, {"order", request.order}});
}

Result<EnvironmentRequest> parse_environment(std::string_view document) {
  boost::system::error_code error;
  const auto value = json::parse(document, error);
  if (error || !value.is_object()) return fail(Code::invalid_input, "the environment request is not a JSON object");
  EnvironmentRequest out;
  try {
    const auto& from = value.get_object();
    out.application = json::serialize(from.at("application").as_object());
    if (const auto* stop = from.if_contains("stop")) out.stop = stop->as_bool();
    if (const auto* order = from.if_contains("order")) out.order = order->to_number<std::uint64_t>();
  } catch (const std::exception& wrong) {
    return fail(Code::invalid_input, "the environment request lacks a field or has one of the wrong type", {}, wrong.what());
  }
  return out;
}

Result<World> read_world(store::Store& store) {
  auto listing = store.list("");
  if (!listing) return fail(listing.error());
  World world;
  world.revision = listing->revision;
  for (auto& record : listing->records) {
    if (record.kind == name(Kind::application)) {
      world.applications.emplace(record.name, std::move(record));
    } else if (record.kind == environment_request_kind) {
      world.environments.emplace(record.name, std::move(record));
    } else if (record.kind == access_request_kind) {
      world.access.emplace(record.name, std::move(record));
    } else if (record.kind == node_request_kind) {
      world.nodes.emplace(record.name, std::move(record));
    } else if (record.kind == assignment_kind) {
      world.assignments.emplace(record.name, std::move(record));
    } else if (parse_kind(record.kind)) {
      auto resource = parse_resource(api::source_document(record), record.kind + "/" + record.name);
      if (!resource) return fail(resource.error());
      world.resources.put(std::move(*resource));
    }
  }
  world.policy_version = fingerprint(world.resources.policies);
  return world;
}

}  // namespace epif::orchestrator
