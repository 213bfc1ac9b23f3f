#pragma once
#include <memory>
#include <string>

#include "api/desk.h"
#include "api/resources.h"
#include "api/server.h"

/// The groups of endpoints that add_endpoints puts together; each adds its routes with the notes for /openapi.json.
namespace epif::api {

/// What handlers share; kept alive by them.
struct Endpoints {
  explicit Endpoints(Services given) : services(std::move(given)), desk(*services.store, *services.kinds) {}
  Services services;
  Desk desk;

  /// One line of the audit log about what `caller` did; failures to write it are logged.
  void audit(const Caller& caller, std::string_view act, std::string_view object);
};
using Shared = std::shared_ptr<Endpoints>;

void add_resource_routes(Router& router, const Shared& shared);
void add_member_routes(Router& router, const Shared& shared);    ///< join, renew, tokens
void add_decision_routes(Router& router, const Shared& shared);  ///< plan, AuthZEN
void add_system_routes(Router& router, const Shared& shared);    ///< health, metrics, audit, openapi

/// The stream behind ?watch=1 of one kind, filtered to what the caller may read (and to `name`, if not empty).
[[nodiscard]] EventStream watch_stream(store::Store& store, const Kind& kind, const Caller& caller, std::string name,
                                       store::Revision since);

[[nodiscard]] Response json_response(std::string body, int status = 200);
/// An answer made of a result: the error's response, or what `print` makes of the value.
template <class T, class Print>
[[nodiscard]] Response answer(const Result<T>& result, Print print, int status = 200) {
  if (!result) return error_response(result.error());
  return json_response(print(*result), status);
}
/// A request's body as a JSON object with only text fields that are all in `fields`, or in `optional` ("" if absent); the
/// order is that of `fields`, then of `optional`.
[[nodiscard]] Result<std::vector<std::string>> text_fields(std::string_view body, std::initializer_list<std::string_view> fields,
                                                           std::initializer_list<std::string_view> optional = {});
/// A whole decimal number of the query; `otherwise` if absent.
[[nodiscard]] Result<std::uint64_t> number(const Request& request, const std::string& key, std::uint64_t otherwise);

}  // namespace epif::api
