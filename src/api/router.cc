#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cassert>
#include <exception>

#include "api/server.h"
#include "api/target.h"
#include "base/log.h"

namespace epif::api {
namespace {

struct Match {
  const Router::Entry* entry = nullptr;
  std::map<std::string, std::string> parameters;
  std::string rank;  ///< one letter a segment, 'a' fixed, 'b' variable, 'c' rest: the smallest is the most specific
};

std::string_view variable(std::string_view part) {
  return part.starts_with('{') && part.ends_with('}') ? part.substr(1, part.size() - 2) : std::string_view();
}

std::optional<Match> match(const Router::Entry& entry, const std::vector<std::string>& path) {
  Match result{.entry = &entry, .parameters = {}, .rank = {}};
  const auto pattern = raw_segments(entry.pattern);
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto name = variable(pattern[i]);
    if (name.ends_with('*')) {
      if (i >= path.size()) return std::nullopt;
      auto& rest = result.parameters[std::string(name.substr(0, name.size() - 1))];
      for (auto at = i; at < path.size(); ++at) rest += (at == i ? "" : "/") + path[at];
      result.rank += 'c';
      return result;
    }
    if (i >= path.size()) return std::nullopt;
    if (!name.empty()) {
      result.parameters[std::string(name)] = path[i];
    } else if (pattern[i] != path[i]) {
      return std::nullopt;
    }
    result.rank += name.empty() ? 'a' : 'b';
  }
  if (path.size() != pattern.size()) return std::nullopt;
  return result;
}

Response unauthenticated() {
  auto response = error_response({Code::unauthenticated, "this needs a user's token or a member's certificate", {}, {},
                                  "send 'Authorization: Bearer TOKEN', or connect with a certificate"});
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

/// Third-party libraries throw; nothing of that leaves a handler.
Reply run(const Router::Entry& entry, const Request& request) {
  try {
    return entry.handler(request);
  } catch (const std::exception& exception) {
    const Error error{Code::internal, "the request failed", request.method + " " + request.path, exception.what(), {}};
    log::error("api", error);
    return error_response(error);
  }
}

}  // namespace

std::string Caller::text() const {
  switch (kind) {
    case Kind::user: return "user " + name;
    case Kind::agent: return "agent " + name;
    case Kind::local: return "local";
    case Kind::anonymous: break;
  }
  return "anonymous";
}

int http_status(Code code) {
  switch (code) {
    case Code::usage:
    case Code::invalid_input:
    case Code::cycle:
    case Code::protocol: return 400;
    case Code::unauthenticated: return 401;
    case Code::denied:
    case Code::permission:
    case Code::revoked: return 403;
    case Code::not_found: return 404;
    case Code::conflict: return 409;
    case Code::expired: return 410;
    case Code::limit: return 413;
    case Code::unfeasible: return 422;
    case Code::unsupported: return 501;
    case Code::timeout: return 504;
    case Code::engine:
    case Code::refused:
    case Code::net_unreachable:
    case Code::host_unreachable: return 503;
    default: return 500;
  }
}

Response error_response(const Error& error) {
  const boost::json::object body{{"code", name(error.code)}, {"what", error.what},     {"where", error.where},
                                 {"why", error.why},         {"advice", error.advice}};
  return {.status = http_status(error.code), .body = boost::json::serialize(body) + "\n"};
}

void Router::add(std::string method, std::string pattern, Handler handler, RouteNote note) {
  assert(pattern.starts_with('/') && handler);
  entries_.push_back({std::move(method), std::move(pattern), std::move(handler), std::move(note)});
}

Reply Router::dispatch(Request& request) const {
  const auto path = segments(request.path);
  if (!path) return error_response({Code::invalid_input, "the path is not well-formed", request.path, {}, {}});
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  std::optional<Match> best;
  std::string allowed;
  for (const auto& entry : entries_) {
    auto found = match(entry, *path);
    if (!found) continue;
    if (entry.method != method) {
      allowed += (allowed.empty() ? "" : ", ") + entry.method;
    } else if (!best || found->rank < best->rank) {
      best = std::move(found);
    }
  }
  const bool known = request.caller.kind != Caller::Kind::anonymous;
  if (!best) {
    if (!known) return unauthenticated();  // strangers do not learn what is there
    auto response = error_response({Code::not_found, "no such path", request.path, {}, "see /openapi.json"});
    if (!allowed.empty()) {
      response = error_response({Code::unsupported, fmt::format("{} is not possible here", request.method), request.path, {},
                                 fmt::format("use {}", allowed)});
      response.status = 405;
      response.headers.emplace_back("Allow", allowed);
    }
    return response;
  }
  if (!known && !best->entry->note.anonymous) return unauthenticated();
  request.parameters = std::move(best->parameters);
  return run(*best->entry, request);
}

}  // namespace epif::api
