#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "api/access.h"
#include "api/endpoints.h"
#include "api/resource_path.h"

namespace epif::api {
namespace {

namespace json = boost::json;

Error unknown_kind(const Kinds& kinds, std::string_view word) {
  std::string known;
  for (const auto& kind : kinds.all()) known += (known.empty() ? "" : ", ") + kind.plural;
  return {Code::not_found, "no such kind", std::string(word), {}, "known are " + known};
}

/// The version a write is based on: ?version=, or If-Match.
Result<std::optional<store::Revision>> expected(const Request& request) {
  const auto in_query = request.query.find("version");
  const std::string& text = in_query != request.query.end() ? in_query->second : request.if_match;
  if (text.empty() || text == "*") return std::optional<store::Revision>();
  store::Revision version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size()) return fail(Code::invalid_input, "not a version", text);
  return std::optional(version);
}

std::string_view word(Desk::Applied::What what) {
  switch (what) {
    case Desk::Applied::What::created: return "created";
    case Desk::Applied::What::changed: return "changed";
    case Desk::Applied::What::unchanged: break;
  }
  return "unchanged";
}

std::string print_applied(const std::vector<Desk::Applied>& all) {
  json::array items;
  for (const auto& one : all) {
    items.push_back({{"kind", one.kind}, {"name", one.name}, {"result", word(one.what)}, {"version", one.version}});
  }
  return json::serialize(json::object{{"applied", std::move(items)}});
}

/// Names of the path: "{name*}" is "modality", "umc/modality" or "umc/modality/status".
struct Named {
  const Kind* kind = nullptr;
  std::string name;
  std::string part;  ///< "", "status" or "desired"
};

Result<Named> resolve(const Shared& shared, const Request& request) {
  const auto& kind_word = request.parameters.at("kind");
  Named named{.kind = shared->services.kinds->find(kind_word), .name = {}, .part = {}};
  if (!named.kind) return fail(unknown_kind(*shared->services.kinds, kind_word));
  const auto rest = request.parameters.find("name");
  if (rest == request.parameters.end()) return named;
  named.name = rest->second;
  const std::size_t slashes = static_cast<std::size_t>(std::ranges::count(named.name, '/'));
  const std::size_t own = named.kind->in_domain ? 1 : 0;
  if (slashes == own + 1) {
    const auto last = named.name.rfind('/');
    named.part = named.name.substr(last + 1);
    named.name.resize(last);
  }
  const bool known_part = named.part.empty() || named.part == "status" || (named.part == "desired" && named.kind->name == "Application");
  if (slashes > own + 1 || slashes < own || !known_part) {
    return fail(Code::not_found, "no such resource", fmt::format("{} {}", named.kind->name, rest->second),
                named.kind->in_domain ? "its name is domain/name" : "its name has one part");
  }
  return named;
}

Reply list_or_watch(const Shared& shared, const Request& request) {
  auto named = resolve(shared, request);
  if (!named) return error_response(named.error());
  const auto& kind = *named->kind;
  const auto wanted = request.query.contains("name") ? request.query.at("name") : named->name;
  auto& store = *shared->services.store;
  if (request.query.contains("watch") && request.query.at("watch") != "0") {
    const auto known = request.query.find("store");
    if (known != request.query.end() && known->second != shared->services.store_identity) {
      return error_response({Code::expired, "this is another store", known->second, "it was replaced",
                             "list again and watch from the listing's revision"});
    }
    auto since = number(request, "since", store.revision());
    if (!since) return error_response(since.error());
    if (*since > store.revision()) {
      return error_response({Code::expired, "that revision is not reached yet", std::to_string(*since),
                             "the store is younger: it was replaced", "list again and watch from the listing's revision"});
    }
    // Refused at once rather than as the stream's first event: easier for a reader.
    if (auto kept = store.events(kind.name, *since, 1); !kept) return error_response(kept.error());
    return watch_stream(store, kind, request.caller, wanted, *since);
  }
  auto listing = store.list(kind.name);
  if (!listing) return error_response(listing.error());
  listing->store = shared->services.store_identity;
  std::erase_if(listing->records, [&](const store::Record& record) {
    return (!wanted.empty() && record.name != wanted) || !may_read(request.caller, kind, record.name);
  });
  return json_response(print_listing(*listing));
}

Reply get_one(const Shared& shared, const Request& request) {
  auto named = resolve(shared, request);
  if (!named) return error_response(named.error());
  if (request.query.contains("watch") && request.query.at("watch") != "0") return list_or_watch(shared, request);
  if (!may_read(request.caller, *named->kind, named->name)) {
    return error_response({Code::denied, request.caller.text() + " may not read this", fmt::format("{} {}", named->kind->name, named->name), {}, {}});
  }
  return answer(shared->services.store->get(named->kind->name, named->name), print_record);
}

/// A resource as it is after a write.
Response stored(const Shared& shared, const Desk::Applied& applied) {
  const int status = applied.what == Desk::Applied::What::created ? 201 : 200;
  return answer(shared->services.store->get(applied.kind, applied.name), print_record, status);
}

Reply put_one(const Shared& shared, const Request& request) {
  auto named = resolve(shared, request);
  if (!named) return error_response(named.error());
  auto version = expected(request);
  if (!version) return error_response(version.error());
  const auto label = fmt::format("{} {}", named->kind->name, named->name);
  if (named->part == "status") {
    return answer(shared->desk.put_status(request.caller, *named->kind, named->name, request.body, *version), print_record);
  }
  if (named->part == "desired") {
    auto fields = text_fields(request.body, {"desired"});
    if (!fields) return error_response(fields.error());
    auto record = shared->desk.set_desired(request.caller, named->name, fields->front());
    if (record) shared->audit(request.caller, "set desired " + fields->front(), label);
    return answer(record, print_record);
  }
  auto applied = shared->desk.put(request.caller, *named->kind, named->name, request.body, *version);
  if (!applied) return error_response(applied.error());
  if (applied->what != Desk::Applied::What::unchanged) shared->audit(request.caller, word(applied->what), label);
  return stored(shared, *applied);
}

Reply post_one(const Shared& shared, const Request& request) {
  auto named = resolve(shared, request);
  if (!named) return error_response(named.error());
  auto applied = shared->desk.put(request.caller, *named->kind, {}, request.body, 0);
  if (!applied) return error_response(applied.error());
  shared->audit(request.caller, "created", fmt::format("{} {}", applied->kind, applied->name));
  return stored(shared, *applied);
}

Reply delete_one(const Shared& shared, const Request& request) {
  auto named = resolve(shared, request);
  if (!named) return error_response(named.error());
  auto version = expected(request);
  if (!version) return error_response(version.error());
  if (!named->part.empty()) return error_response({Code::not_found, "cannot be deleted by itself", named->part, {}, {}});
  auto done = shared->desk.remove(request.caller, *named->kind, named->name, *version);
  if (done) shared->audit(request.caller, "deleted", fmt::format("{} {}", named->kind->name, named->name));
  if (!done) return error_response(done.error());
  return json_response("{}");
}

Reply apply(const Shared& shared, const Request& request) {
  const auto source = request.query.contains("source") ? request.query.at("source") : "request";
  auto applied = shared->desk.apply(request.caller, request.body, source);
  if (!applied) return error_response(applied.error());
  for (const auto& one : *applied) {
    if (one.what != Desk::Applied::What::unchanged) shared->audit(request.caller, word(one.what), fmt::format("{} {}", one.kind, one.name));
  }
  return json_response(print_applied(*applied));
}

}  // namespace

void add_resource_routes(Router& router, const Shared& shared) {
  const auto bind = [&](Reply (*function)(const Shared&, const Request&)) {
    return [shared, function](const Request& request) { return function(shared, request); };
  };
  const std::string resource = R"({"$ref":"#/components/schemas/Resource"})";
  const std::string list = R"({"$ref":"#/components/schemas/List"})";
  router.add("GET", "/v1/{kind}", bind(list_or_watch), {"List a kind; ?watch=1&since=REVISION (and store=, as the list says it) streams its changes as server-sent events", {}, list});
  router.add("POST", "/v1/{kind}", bind(post_one), {"Create a resource; 409 if it exists", resource, resource});
  router.add("GET", "/v1/{kind}/{name*}", bind(get_one), {"Read a resource; names are NAME or DOMAIN/NAME; ?watch=1 follows it", {}, resource});
  router.add("PUT", "/v1/{kind}/{name*}", bind(put_one),
             {"Create or change a resource (?version= or If-Match: only if it is still at that version); with /status at the end "
              "its status; with /desired at the end of an application's name {\"desired\":\"running\"|\"stopped\"}",
              resource, resource});
  router.add("DELETE", "/v1/{kind}/{name*}", bind(delete_one), {"Remove a resource that nothing refers to"});
  router.add("POST", "/v1/apply", bind(apply),
             {"Apply several documents (YAML or JSON) in one transaction: all or none", R"({"type":["object","array"]})", {}});
}

}  // namespace epif::api
