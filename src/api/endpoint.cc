#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "api/connection.h"
#include "base/ip.h"

namespace epif::api {
namespace {

Error bad_url(std::string_view url) {
  return {Code::invalid_input, "not an orchestrator's address", std::string(url), "it must read https://host:port or unix:/path", {}};
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view url) {
  constexpr std::string_view https = "https://";
  constexpr std::string_view local = "unix:";
  if (url.starts_with(local) && url.size() > local.size()) return Endpoint{.host = {}, .port = {}, .path = std::string(url.substr(local.size()))};
  if (!url.starts_with(https)) return fail(bad_url(url));
  auto rest = url.substr(https.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  // "host:port" or "[v6]:port"; without a port, the orchestrator's own.
  std::string text(rest);
  const auto after_host = rest.starts_with('[') ? rest.find(']') : 0;
  if (after_host == rest.npos) return fail(bad_url(url));
  if (rest.find(':', after_host) == rest.npos) text += ":7443";
  auto destination = Destination::parse(text);
  if (!destination || destination->port == 0) return fail(bad_url(url));
  std::string host = destination->is_name() ? std::get<std::string>(destination->host) : std::get<IpAddress>(destination->host).text();
  if (host.find_first_of("/@?#") != host.npos) return fail(bad_url(url));
  return Endpoint{.host = std::move(host), .port = std::to_string(destination->port), .path = {}};
}

std::string Endpoint::text() const {
  if (is_unix()) return "unix:" + path;
  const bool v6 = host.find(':') != host.npos;
  return fmt::format("https://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

namespace {

std::string field(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

Code code_named(std::string_view word) {
  for (int i = 0; i <= static_cast<int>(Code::internal); ++i) {
    if (name(static_cast<Code>(i)) == word) return static_cast<Code>(i);
  }
  return Code::internal;
}

}  // namespace

Error error_of(const Answer& answer) {
  boost::system::error_code bad;
  const auto body = boost::json::parse(answer.body, bad);
  if (bad || !body.is_object() || !body.as_object().contains("code")) {
    return {Code::protocol, fmt::format("the server answered with HTTP status {}", answer.status), {},
            answer.body.substr(0, 200), "check that the address is an epif orchestrator's"};
  }
  const auto& object = body.as_object();
  return {code_named(field(object, "code")), field(object, "what"), field(object, "where"), field(object, "why"), field(object, "advice")};
}

}  // namespace epif::api
