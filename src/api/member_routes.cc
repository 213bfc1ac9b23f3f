#include <fmt/format.h>

#include <boost/json.hpp>
#include <chrono>

#include "api/endpoints.h"
#include "api/tokens.h"
#include "base/log.h"
#include "model/assignment.h"
#include "model/quantity.h"

namespace epif::api {
namespace {

namespace json = boost::json;

Reply issue(const Shared& shared, std::string_view request, const std::string& identity) {
  auto certificate = shared->services.authority->issue(request, {.identity = identity});
  if (!certificate) return error_response(certificate.error());
  return json_response(json::serialize(json::object{{"certificate", *certificate}, {"authority", shared->services.authority->certificate()}}), 201);
}

/// Zero, the default of each use, for no text.
Result<std::chrono::seconds> lifetime(const std::string& text) {
  if (text.empty()) return std::chrono::seconds(0);
  auto given = parse_duration(text);
  if (!given) return fail(Code::invalid_input, "not a duration", "valid", given.error().text(), "write, for example, 10m");
  const auto whole = std::chrono::floor<std::chrono::seconds>(*given);
  if (whole.count() < 1) return fail(Code::invalid_input, "a token is valid for one second or more", "valid", text);
  return whole;
}

Reply join(const Shared& shared, const Request& request) {
  auto fields = text_fields(request.body, {"id", "secret", "identity", "request"});
  if (!fields) return error_response(fields.error());
  const auto& identity = (*fields)[2];
  auto checked = check_join_token(*shared->services.store, (*fields)[0], (*fields)[1], identity, std::chrono::system_clock::now());
  if (!checked) {
    // What a stranger claims to be goes to the log, his guesses at secrets do not.
    // Not to the store: a stranger could fill it.
    log::warn("api", "refused to join", {{"identity", identity.substr(0, 128)}});
    auto error = std::move(checked.error());
    if (error.code == Code::expired) error.code = Code::unauthenticated;
    return error_response(error);
  }
  shared->audit({Caller::Kind::agent, identity}, "joined", identity);
  return issue(shared, (*fields)[3], identity);
}

Reply renew(const Shared& shared, const Request& request) {
  if (request.caller.kind != Caller::Kind::agent) {
    return error_response({Code::denied, "only a member may renew its certificate", {}, {}, "connect with the certificate"});
  }
  auto fields = text_fields(request.body, {"request"});
  if (!fields) return error_response(fields.error());
  // Or whoever has a removed node's key would be a member for ever.
  if (const auto assigned = shared->services.store->get(assignment_kind, request.caller.name); assigned && parse_removal(assigned->spec)) {
    return error_response({Code::denied, "the node was removed, so its certificate is not renewed", request.caller.name, {}, "apply the node again"});
  }
  shared->audit(request.caller, "renewed its certificate", request.caller.name);
  return issue(shared, fields->front(), request.caller.name);
}

/// {"use":"join","subject":"domain/node"} or {"use":"user","subject":"alice"}, "valid" for how long; the answer is the only
/// place that shows it.
Reply make_token(const Shared& shared, const Request& request) {
  if (!request.caller.may_administer()) return error_response({Code::denied, request.caller.text() + " may not make tokens", {}, {}, {}});
  auto fields = text_fields(request.body, {"use", "subject"}, {"valid"});
  if (!fields) return error_response(fields.error());
  const auto& use = (*fields)[0];
  const auto& subject = (*fields)[1];
  auto valid = lifetime((*fields)[2]);
  if (!valid) return error_response(valid.error());
  std::string text;
  if (use == "join") {
    auto token = issue_join_token(*shared->services.store, subject, shared->services.authority->fingerprint(), *valid);
    if (!token) return error_response(token.error());
    text = token->text();
  } else if (use == "user" && !subject.empty()) {
    auto token = issue_user_token(*shared->services.store, subject, *valid);
    if (!token) return error_response(token.error());
    text = std::move(*token);
  } else {
    return error_response({Code::invalid_input, "not a use of a token", use, {}, "use is join or user, subject says for whom"});
  }
  shared->audit(request.caller, fmt::format("made a {} token", use), subject);
  return json_response(json::serialize(json::object{{"token", text}}), 201);
}

}  // namespace

void add_member_routes(Router& router, const Shared& shared) {
  if (!shared->services.authority) return;
  const auto bind = [&](Reply (*function)(const Shared&, const Request&)) {
    return [shared, function](const Request& request) { return function(shared, request); };
  };
  const std::string certificate = R"({"type":"object","properties":{"certificate":{"type":"string"},"authority":{"type":"string"}}})";
  router.add("POST", "/v1/join", bind(join),
             {"Join as a node: a token's id and secret, the identity, and a PKCS #10 request; answers with its certificate",
              R"({"type":"object","required":["id","secret","identity","request"],"properties":{"id":{"type":"string"},"secret":{"type":"string"},"identity":{"type":"string"},"request":{"type":"string"}}})",
              certificate, true});
  router.add("POST", "/v1/renew", bind(renew),
             {"A new certificate for the member that asks", R"({"type":"object","required":["request"],"properties":{"request":{"type":"string"}}})", certificate});
  router.add("POST", "/v1/tokens", bind(make_token),
             {"Make a token: use join (subject: domain/node, a domain, or *) or user (subject: a name); valid: how long, such as 10m",
              R"({"type":"object","required":["use","subject"],"properties":{"use":{"enum":["join","user"]},"subject":{"type":"string"},"valid":{"type":"string"}}})",
              R"({"type":"object","properties":{"token":{"type":"string"}}})"});
}

}  // namespace epif::api
