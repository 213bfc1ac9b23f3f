#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "api/kinds.h"
#include "api/pki.h"

#include "api/server.h"
#include "base/error.h"
#include "store/store.h"

/// The control plane's HTTP endpoints over a store (interface.md): resources, plan, audit, join, AuthZEN, health, metrics.
namespace epif::api {

/// What the endpoints stand on; all outlive the server.
struct Services {
  store::Store* store = nullptr;
  const Kinds* kinds = nullptr;
  std::string store_identity = {};                  ///< of `store` (api/store_identity.h); empty: listings carry none
  const CertificateAuthority* authority = nullptr;  ///< null: no /v1/join
  std::function<Result<>()> ready = {};             ///< /readyz; absent: the store answers
  std::function<std::string()> metrics = {};        ///< more lines in Prometheus text form for /metrics
};

/// Adds every endpoint. Resources: GET/POST /v1/{kinds}, GET/PUT/DELETE /v1/{kinds}/{name}, PUT .../status; POST /v1/apply
/// (several documents, one transaction); PUT /v1/applications/{name}/desired {"desired": "running"|"stopped"}.
void add_endpoints(Router& router, Services services);

/// The OpenAPI 3.1 document of `router`; what /openapi.json answers.
[[nodiscard]] std::string openapi(const Router& router, const Kinds& kinds);

/// A record as the API prints it: {"apiVersion","kind","metadata":{...,"name","domain","version","generation"},"spec","status"}.
[[nodiscard]] std::string print_record(const store::Record& record);
/// The inverse (client side).
[[nodiscard]] Result<store::Record> parse_record(std::string_view json);
/// Only what the user wrote: {"apiVersion","kind","metadata":{"name","domain"},"spec"}, as src/model reads it.
[[nodiscard]] std::string source_document(const store::Record& record);
/// metadata.desired of an Application: true after `epif stop`, until it is applied or submitted again.
[[nodiscard]] bool is_stopped(const store::Record& application);

}  // namespace epif::api
