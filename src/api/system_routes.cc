#include <fmt/format.h>

#include <boost/json.hpp>
#include <map>

#include "api/endpoints.h"

namespace epif::api {
namespace {

namespace json = boost::json;

Result<> ready(const Shared& shared) {
  if (shared->services.ready) return shared->services.ready();
  auto listing = shared->services.store->events({}, shared->services.store->revision(), 1);
  if (!listing) return fail(std::move(listing.error()));
  return {};
}

Reply readyz(const Shared& shared, const Request&) {
  if (auto good = ready(shared); !good) {
    auto response = error_response(good.error());
    response.status = 503;
    return response;
  }
  return Response{.status = 200, .body = "ready\n", .content_type = "text/plain"};
}

Reply healthz(const Shared&, const Request&) { return Response{.status = 200, .body = "alive\n", .content_type = "text/plain"}; }

/// Prometheus text form 0.0.4.
Reply metrics(const Shared& shared, const Request&) {
  auto listing = shared->services.store->list({});
  if (!listing) return error_response(listing.error());
  std::map<std::string, std::size_t> counts;
  for (const auto& kind : shared->services.kinds->all()) counts[kind.name] = 0;
  for (const auto& record : listing->records) {
    if (const auto known = counts.find(record.kind); known != counts.end()) ++known->second;
  }
  std::string text = "# HELP epif_store_revision Writes since the store was made.\n# TYPE epif_store_revision counter\n";
  text += fmt::format("epif_store_revision {}\n", listing->revision);
  text += "# HELP epif_resources Resources stored, by kind.\n# TYPE epif_resources gauge\n";
  for (const auto& [kind, count] : counts) text += fmt::format("epif_resources{{kind=\"{}\"}} {}\n", kind, count);
  if (shared->services.metrics) text += shared->services.metrics();
  return Response{.status = 200, .body = std::move(text), .content_type = "text/plain; version=0.0.4"};
}

Reply audit(const Shared& shared, const Request& request) {
  if (!request.caller.may_administer()) return error_response({Code::denied, request.caller.text() + " may not read the audit log", {}, {}, {}});
  auto after = number(request, "after", 0);
  auto limit = number(request, "limit", 1'000);
  if (!after) return error_response(after.error());
  if (!limit) return error_response(limit.error());
  auto lines = shared->services.store->audit(*after, std::min<std::uint64_t>(*limit, 10'000));
  if (!lines) return error_response(lines.error());
  json::array items;
  for (const auto& line : *lines) {
    // The entry stays text: its hash is over these very bytes.
    items.push_back({{"number", line.number}, {"time", line.time}, {"entry", line.entry}, {"hash", line.hash}});
  }
  return json_response(json::serialize(json::object{{"lines", std::move(items)}}));
}

}  // namespace

void add_system_routes(Router& router, const Shared& shared) {
  const auto bind = [&](Reply (*function)(const Shared&, const Request&)) {
    return [shared, function](const Request& request) { return function(shared, request); };
  };
  router.add("GET", "/healthz", bind(healthz), {"The process answers", {}, R"({"type":"string"})", true});
  router.add("GET", "/readyz", bind(readyz), {"The store answers, too; 503 with the reason otherwise", {}, R"({"type":"string"})", true});
  router.add("GET", "/metrics", bind(metrics), {"Metrics in Prometheus text form", {}, R"({"type":"string"})"});
  router.add("GET", "/v1/audit", bind(audit),
             {"Lines of the audit log after ?after=NUMBER, at most ?limit=; each hash is SHA-256 of the one before, time and entry, joined by newlines"});
  // Printed once the last route, this one, is in.
  const auto document = std::make_shared<std::string>();
  router.add("GET", "/openapi.json", [document](const Request&) -> Reply { return json_response(*document); }, {"This document"});
  *document = openapi(router, *shared->services.kinds);
}

}  // namespace epif::api
