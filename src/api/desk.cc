#include "api/desk.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "api/access.h"
#include "api/resources.h"
#include "base/limits.h"
#include "model/document.h"
#include "model/image_reference.h"
#include "planner/plan.h"
#include "policy/flow_request.h"

namespace epif::api {
namespace {

namespace json = boost::json;

/// Fields that the API prints and the model does not read: `get` followed by `apply` must work.
void drop_printed_fields(json::object& document) {
  document.erase("status");
  if (auto* metadata = document.contains("metadata") ? document.at("metadata").if_object() : nullptr) {
    metadata->stable_erase("generation");
    metadata->stable_erase("desired");
  }
}

json::object object_or_empty(const std::string& text) { return text.empty() ? json::object() : json::parse(text).as_object(); }

Result<json::object> parse_object(std::string_view text, std::string_view what) {
  json::error_code bad;
  auto value = json::parse(text, bad);
  if (bad) return fail(Code::invalid_input, "not JSON", std::string(what), bad.message());
  if (!value.is_object()) return fail(Code::invalid_input, "not a JSON object", std::string(what));
  return std::move(value.as_object());
}

std::string full_name(const json::object& metadata) {
  const auto part = [&](std::string_view key) {
    const auto* value = metadata.if_contains(key);
    return value && value->is_string() ? std::string(value->as_string()) : std::string();
  };
  const auto domain = part("domain");
  return (domain.empty() ? "" : domain + "/") + part("name");
}

/// Each attribute that a policy among `writes` requires must exist once they are in: unknown, it is a typing error, which
/// would close flows for ever without a word. Only of those handed in, so that an older mistake stops nothing else.
Result<> check_required(const ResourceSet& resources, std::span<const store::Write> writes) {
  ResourceSet handed_in = resources;
  std::erase_if(handed_in.policies, [&](const auto& entry) {
    return std::ranges::none_of(writes, [&](const auto& write) { return parse_kind(write.kind) == epif::Kind::policy && write.name == entry.first; });
  });
  if (handed_in.policies.empty()) return {};
  auto policies = policy::FlowPolicies::make(handed_in, {});
  if (!policies) return fail(std::move(policies.error()));
  return policies->check_required(resources);
}

Desk::Applied::What what_happens(const store::Record* before, store::Revision after) {
  if (!before) return Desk::Applied::What::created;
  return before->version == after ? Desk::Applied::What::unchanged : Desk::Applied::What::changed;
}

}  // namespace

Result<> check_set(const ResourceSet& resources) {
  if (auto fits = resources.check(); !fits) return fits;
  // The moment only decides which consents count; texts are read the same at any.
  if (auto policies = policy::FlowPolicies::make(resources, {}); !policies) return fail(std::move(policies.error()));
  if (resources.functions.empty()) return {};
  // Without applications and policies, planning checks the functions alone.
  ResourceSet functions = resources;
  functions.applications.clear();
  functions.policies.clear();
  auto plan = planner::plan(functions, {});
  if (!plan) return fail(std::move(plan.error()));
  return {};
}

store::Write to_write(const Resource& resource) {
  auto document = json::parse(to_json(resource)).as_object();
  auto metadata = document.at("metadata").as_object();
  metadata.stable_erase("version");
  store::Write write{store::Write::Type::put, std::string(name(kind_of(resource))), metadata_of(resource).full_name(),
                     json::serialize(metadata), json::serialize(document.contains("spec") ? document.at("spec") : json::object())};
  if (const auto version = metadata_of(resource).version; version != 0) write.expected = version;
  return write;
}

Result<ResourceSet> Desk::stored() {
  auto listing = store_.list("");
  if (!listing) return fail(std::move(listing.error()));
  ResourceSet resources;
  for (const auto& record : listing->records) {
    if (!parse_kind(record.kind)) continue;
    auto resource = parse_resource(source_document(record), record.kind + " " + record.name);
    if (!resource) return fail(std::move(resource.error()));
    metadata_of(*resource).origin.line = 0;  // users never saw the stored text
    resources.put(std::move(*resource));
  }
  return resources;
}

/// A document of a registered kind that the model does not know: metadata and spec are taken as they are.
Result<store::Write> Desk::read_internal(const Kind& kind, std::string_view text, std::string_view source) {
  auto document = parse_object(text, source);
  if (!document) return fail(std::move(document.error()));
  drop_printed_fields(*document);
  auto* metadata = document->contains("metadata") ? document->at("metadata").if_object() : nullptr;
  auto* spec = document->contains("spec") ? document->at("spec").if_object() : nullptr;
  if (!metadata || !spec) return fail(Code::invalid_input, "metadata or spec is missing", std::string(source));
  store::Write write{store::Write::Type::put, kind.name, full_name(*metadata)};
  if (write.name.empty() || (write.name.find('/') != std::string::npos) != kind.in_domain) {
    return fail(Code::invalid_input, "wrong name", fmt::format("{} {}", kind.name, write.name), {},
                kind.in_domain ? "give metadata.domain and metadata.name" : "give metadata.name alone");
  }
  metadata->stable_erase("version");
  write.metadata = json::serialize(*metadata);
  write.body = json::serialize(*spec);
  if (kind.check) {
    if (auto good = kind.check(write.name, write.body); !good) return fail(std::move(good.error()));
  }
  return write;
}

Result<std::vector<store::Write>> Desk::read(const Caller& caller, std::string_view text, std::string_view source, ResourceSet& resources) {
  std::string cleaned(text);
  json::error_code bad;
  if (auto value = json::parse(text, bad); !bad && value.is_object()) {
    drop_printed_fields(value.as_object());
    cleaned = json::serialize(value);
  }
  // Text that is not a lone JSON object goes as it is, so that errors name lines as the user counts them.
  auto parsed = parse_resources(bad ? text : std::string_view(cleaned), source);
  if (!parsed) return fail(std::move(parsed.error()));
  if (parsed->empty()) return fail(Code::invalid_input, "no resource in it", std::string(source));
  std::vector<store::Write> writes;
  for (auto& resource : *parsed) {
    if (const auto* function = std::get_if<BridgingFunction>(&resource)) {
      if (auto pinned = check_image(*function); !pinned) return fail(std::move(pinned.error()));
    }
    auto write = to_write(resource);
    const auto* kind = kinds_.find(write.kind);
    if (!kind) return fail(Code::unsupported, "this server does not keep the kind", write.kind);
    if (auto allowed = check_write(caller, *kind, write.name); !allowed) return fail(std::move(allowed.error()));
    for (const auto& other : writes) {
      if (other.kind == write.kind && other.name == write.name) {
        return fail(Code::conflict, "stands in the input twice", fmt::format("{} {}", write.kind, write.name));
      }
    }
    resources.put(std::move(resource));
    writes.push_back(std::move(write));
  }
  return writes;
}

Result<std::vector<Desk::Applied>> Desk::commit(std::span<const store::Write> writes) {
  std::vector<std::optional<store::Record>> before;
  for (const auto& write : writes) {
    auto record = store_.get(write.kind, write.name);
    if (!record && record.error().code != Code::not_found) return fail(std::move(record.error()));
    before.push_back(record ? std::optional(std::move(*record)) : std::nullopt);
  }
  if (auto done = store_.commit(writes); !done) return fail(std::move(done.error()));
  std::vector<Applied> applied;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    auto after = store_.get(writes[i].kind, writes[i].name);
    if (!after) return fail(std::move(after.error()));
    applied.push_back({after->kind, after->name, what_happens(before[i] ? &*before[i] : nullptr, after->version), after->version});
  }
  return applied;
}

Result<std::vector<Desk::Applied>> Desk::apply(const Caller& caller, std::string_view text, std::string_view source) {
  const std::scoped_lock lock(mutex_);
  auto resources = stored();
  if (!resources) return fail(std::move(resources.error()));
  auto writes = read(caller, text, source, *resources);
  if (!writes) return fail(std::move(writes.error()));
  if (auto good = check_set(*resources); !good) return fail(std::move(good.error()));
  if (auto known = check_required(*resources, *writes); !known) return fail(std::move(known.error()));
  return commit(*writes);
}

Result<Desk::Applied> Desk::put(const Caller& caller, const Kind& kind, std::string_view name, std::string_view text,
                                std::optional<store::Revision> expected) {
  const std::scoped_lock lock(mutex_);
  const std::string source = name.empty() ? kind.name : fmt::format("{} {}", kind.name, name);
  std::vector<store::Write> writes;
  if (parse_kind(kind.name)) {
    auto resources = stored();
    if (!resources) return fail(std::move(resources.error()));
    auto read_writes = read(caller, text, source, *resources);
    if (!read_writes) return fail(std::move(read_writes.error()));
    if (auto good = check_set(*resources); !good) return fail(std::move(good.error()));
    if (auto known = check_required(*resources, *read_writes); !known) return fail(std::move(known.error()));
    writes = std::move(*read_writes);
  } else {
    auto write = read_internal(kind, text, source);
    if (!write) return fail(std::move(write.error()));
    if (auto allowed = check_write(caller, kind, write->name); !allowed) return fail(std::move(allowed.error()));
    writes.push_back(std::move(*write));
  }
  if (writes.size() != 1 || writes[0].kind != kind.name || (!name.empty() && writes[0].name != name)) {
    return fail(Code::invalid_input, "the document is not the resource that the path names", source,
                fmt::format("it is {} {}", writes[0].kind, writes[0].name));
  }
  if (expected) writes[0].expected = expected;
  auto applied = commit(writes);
  if (!applied) return fail(std::move(applied.error()));
  return std::move(applied->front());
}

Result<> Desk::remove(const Caller& caller, const Kind& kind, std::string_view name, std::optional<store::Revision> expected) {
  const std::scoped_lock lock(mutex_);
  if (auto allowed = check_write(caller, kind, name); !allowed) return allowed;
  if (const auto model_kind = parse_kind(kind.name)) {
    auto resources = stored();
    if (!resources) return fail(std::move(resources.error()));
    resources->remove(*model_kind, std::string(name));
    if (auto good = resources->check(); !good) {
      auto error = std::move(good.error());
      return fail(Code::conflict, "is still in use", fmt::format("{} {}", kind.name, name), error.text(), "remove what refers to it first");
    }
  }
  auto done = store_.remove(kind.name, std::string(name), expected);
  if (!done) return fail(std::move(done.error()));
  return {};
}

/// A request to a domain names the one member that speaks for it; its neighbours may not.
Result<> Desk::check_answerer(const Caller& caller, const Kind& kind, std::string_view name) const {
  if (caller.kind != Caller::Kind::agent || kind.agent_writes_status != Reach::own_domain) return {};
  auto record = store_.get(kind.name, name);
  if (!record) return fail(std::move(record.error()));
  auto spec = parse_object(record->spec, fmt::format("{} {}", kind.name, name));
  if (!spec) return fail(std::move(spec.error()));
  const auto* answerer = spec->if_contains("answerer");
  if (answerer == nullptr || (answerer->is_string() && std::string_view(answerer->get_string()) == caller.name)) return {};
  return fail(Code::denied, caller.text() + " does not speak for its domain here", fmt::format("{} {}", kind.name, name));
}

Result<store::Record> Desk::put_status(const Caller& caller, const Kind& kind, std::string_view name, std::string_view status,
                                       std::optional<store::Revision> expected) {
  if (auto allowed = check_status_write(caller, kind, name); !allowed) return fail(std::move(allowed.error()));
  // A member's words are copied into other documents: one that talks without end must not stop the commit of all.
  if (status.size() > limits::member_status_max_bytes && caller.kind == Caller::Kind::agent) {
    return fail(Code::limit, "the status is too large", fmt::format("{} {}", kind.name, name),
                fmt::format("{} bytes, at most {}", status.size(), limits::member_status_max_bytes));
  }
  if (auto named = check_answerer(caller, kind, name); !named) return fail(std::move(named.error()));
  auto object = parse_object(status, fmt::format("status of {} {}", kind.name, name));
  if (!object) return fail(std::move(object.error()));
  auto done = store_.put_status(kind.name, std::string(name), json::serialize(*object), expected);
  if (!done) return fail(std::move(done.error()));
  return store_.get(kind.name, name);
}

Result<store::Record> Desk::set_desired(const Caller& caller, std::string_view application, std::string_view desired) {
  const std::scoped_lock lock(mutex_);
  const auto* kind = kinds_.find("Application");
  if (!kind) return fail(Code::unsupported, "this server keeps no applications");
  if (auto allowed = check_write(caller, *kind, application); !allowed) return fail(std::move(allowed.error()));
  if (desired != "running" && desired != "stopped") {
    return fail(Code::invalid_input, "desired is running or stopped", std::string(application), std::string(desired));
  }
  auto record = store_.get(kind->name, application);
  if (!record) return record;
  auto metadata = object_or_empty(record->metadata);
  metadata.stable_erase("desired");
  if (desired == "stopped") metadata["desired"] = desired;
  auto done = store_.put(record->kind, record->name, json::serialize(metadata), record->spec, record->version);
  if (!done) return fail(std::move(done.error()));
  return store_.get(kind->name, application);
}

}  // namespace epif::api
