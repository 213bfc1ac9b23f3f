#include "model/assignment.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/bytes.h"
#include "base/limits.h"

namespace json = boost::json;

namespace epif {
namespace {

constexpr std::string_view removed_role = "removed";

json::array texts(const std::vector<std::string>& list) {
  json::array out;
  for (const auto& text : list) out.emplace_back(text);
  return out;
}

json::array parts(const std::vector<PartState>& list) {
  json::array out;
  for (const auto& part : list) {
    out.emplace_back(json::object{{"name", part.name}, {"state", part.state}, {"pid", part.pid}, {"reason", part.reason}});
  }
  return out;
}

json::array flows(const std::vector<RequestedFlow>& list) {
  json::array out;
  for (const auto& flow : list) {
    out.emplace_back(json::object{{"name", flow.name},
                                  {"from", flow.from},
                                  {"to", flow.to},
                                  {"port", flow.port},
                                  {"data", flow.data},
                                  {"chain", texts(flow.chain)},
                                  {"proxies", texts(flow.proxies)}});
  }
  return out;
}

json::array print_aliases(const std::vector<ToldAlias>& list) {
  json::array out;
  for (const auto& told : list) {
    auto& alias = out.emplace_back(json::object{{"name", told.name}, {"address", told.address.text()}}).get_object();
    if (told.freed != 0) alias["freed"] = told.freed;
    if (told.until != std::chrono::sys_seconds{}) alias["until"] = told.until.time_since_epoch().count();
  }
  return out;
}

/// Field access that throws on a wrong type or a number out of range; `read` below turns that into an Error. Fields that
/// are absent or unknown are skipped, so that an agent and an orchestrator of neighbouring versions understand each other.
std::string text(const json::object& from, std::string_view field) {
  const auto* value = from.if_contains(field);
  return value ? std::string(value->as_string()) : std::string();
}
template <class Number = std::uint64_t>
Number number(const json::object& from, std::string_view field) {
  const auto* value = from.if_contains(field);
  return value ? value->to_number<Number>() : Number{};
}
bool boolean(const json::object& from, std::string_view field) {
  const auto* value = from.if_contains(field);
  return value && value->as_bool();
}
std::vector<std::string> list(const json::object& from, std::string_view field) {
  std::vector<std::string> out;
  if (const auto* value = from.if_contains(field)) {
    for (const auto& item : value->as_array()) out.emplace_back(item.as_string());
  }
  return out;
}
std::vector<PartState> parts(const json::object& from, std::string_view field) {
  std::vector<PartState> out;
  if (const auto* value = from.if_contains(field)) {
    for (const auto& item : value->as_array()) {
      const auto& part = item.as_object();
      out.push_back({text(part, "name"), text(part, "state"), number<std::int64_t>(part, "pid"), text(part, "reason")});
    }
  }
  return out;
}

Result<std::vector<ToldAlias>> read_aliases(const json::object& from) {
  std::vector<ToldAlias> out;
  const auto* aliases = from.if_contains("aliases");
  if (aliases == nullptr) return out;
  for (const auto& item : aliases->as_array()) {
    const auto& told = item.as_object();
    const auto address = IpAddress::parse(text(told, "address"));
    if (!address) return fail(address.error());
    // Older programs wrote an end for what is awaited as well.
    const std::chrono::seconds until(boolean(told, "awaited") ? 0 : number<std::int64_t>(told, "until"));
    out.push_back({text(told, "name"), *address, number(told, "freed"), std::chrono::sys_seconds(until)});
  }
  return out;
}

template <class T, class Fill>
Result<T> read(std::string_view document, std::string_view what, Fill fill) {
  boost::system::error_code error;
  const auto value = json::parse(document, error);
  if (error || !value.is_object()) {
    return fail(Code::invalid_input, fmt::format("{} is not a JSON object", what), {}, error ? error.message() : "");
  }
  T out;
  try {
    if (auto filled = fill(value.get_object(), out); !filled) return fail(filled.error());
  } catch (const std::exception& wrong) {  // of which kind depends on the version of Boost.JSON
    return fail(Code::invalid_input, fmt::format("{} has a field of the wrong type", what), {}, wrong.what());
  }
  return out;
}

}  // namespace

std::string_view name(Role role) { return role == Role::proxy ? "proxy" : "endpoint"; }

std::string DomainRequest::question() const {
  // FNV-1a over the printed request: a fingerprint against mix-ups of old and new answers, not against forgery (only the
  // orchestrator writes requests, only the domain's own agent writes answers).
  std::uint64_t hash = 14695981039346656037ull;
  for (const char byte : print(*this)) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ull;
  return fmt::format("{:016x}", hash);
}

std::string print(const Assignment& assignment) {
  json::object out{{"node", assignment.node}, {"role", name(assignment.role)}};
  if (assignment.role == Role::proxy) {
    out["listen"] = assignment.listen.text();
    out["engine"] = assignment.engine;
  }
  json::array instances;
  for (const auto& wished : assignment.instances) {
    instances.emplace_back(json::object{{"name", wished.name},
                                        {"function", wished.function},
                                        {"image", wished.image},
                                        {"trusted", wished.trusted}});
  }
  out["instances"] = std::move(instances);
  out["routes"] = json::parse(print_routes(assignment.routes));
  if (!assignment.aliases.empty()) out["aliases"] = print_aliases(assignment.aliases);
  return json::serialize(out);
}

std::string print(const Removal& removal) {
  json::object out{
      {"node", removal.node}, {"role", removed_role}, {"revision", removal.revision}, {"at", removal.at.time_since_epoch().count()}};
  if (!removal.aliases.empty()) out["aliases"] = print_aliases(removal.aliases);
  return json::serialize(out);
}

std::string print(const AssignmentReport& report) {
  return json::serialize(json::object{{"generation", report.generation},
                                      {"publicKey", report.public_key},
                                      {"instances", parts(report.instances)},
                                      {"processes", parts(report.processes)},
                                      {"errors", texts(report.errors)},
                                      {"seen", report.seen}});
}

std::string print(const DomainRequest& request) {
  return json::serialize(json::object{{"application", request.application},
                                      {"purpose", request.purpose},
                                      {"domain", request.domain},
                                      {"answerer", request.answerer},
                                      {"nodes", texts(request.nodes)},
                                      {"images", texts(request.images)},
                                      {"flows", flows(request.flows)}});
}

std::string print(const DomainAnswer& answer) {
  return json::serialize(json::object{
      {"question", answer.question}, {"granted", answer.granted}, {"reason", answer.reason}, {"by", answer.by}});
}

Result<Assignment> parse_assignment(std::string_view document) {
  return read<Assignment>(document, "the assignment", [](const json::object& from, Assignment& out) -> Result<> {
    out.node = text(from, "node");
    const auto role = text(from, "role");
    if (role != "endpoint" && role != "proxy") {
      return fail(Code::invalid_input, "the assignment has an unknown role", "role", "'" + role + "'");
    }
    out.role = role == "proxy" ? Role::proxy : Role::endpoint;
    if (out.role == Role::proxy) {
      auto listen = SocketAddress::parse(text(from, "listen"));
      if (!listen) return fail(listen.error());
      out.listen = *listen;
      out.engine = text(from, "engine");
    }
    if (const auto* instances = from.if_contains("instances")) {
      for (const auto& item : instances->as_array()) {
        const auto& wished = item.as_object();
        out.instances.push_back(
            {text(wished, "name"), text(wished, "function"), text(wished, "image"), boolean(wished, "trusted")});
      }
    }
    auto routes = parse_routes(json::serialize(from.at("routes")), "assignment.routes");
    if (!routes) return fail(routes.error());
    out.routes = std::move(*routes);
    auto aliases = read_aliases(from);
    if (!aliases) return fail(aliases.error());
    out.aliases = std::move(*aliases);
    return {};
  });
}

std::vector<ToldAlias> parse_aliases(std::string_view document) {
  auto aliases = read<std::vector<ToldAlias>>(document, "the assignment", [](const json::object& from, auto& out) -> Result<> {
    auto told = read_aliases(from);
    if (!told) return fail(told.error());
    out = std::move(*told);
    return {};
  });
  return aliases ? std::move(*aliases) : std::vector<ToldAlias>();
}

std::optional<Removal> parse_removal(std::string_view document) {
  if (document.find(removed_role) == document.npos) return {};  // most are not, and large
  auto removal = read<Removal>(document, "the removal", [](const json::object& from, Removal& out) -> Result<> {
    if (text(from, "role") != removed_role) return fail(Code::invalid_input, "no removal");
    out.node = text(from, "node");
    out.revision = number(from, "revision");
    out.at = std::chrono::sys_seconds(std::chrono::seconds(number<std::int64_t>(from, "at")));
    auto aliases = read_aliases(from);
    if (!aliases) return fail(aliases.error());
    out.aliases = std::move(*aliases);
    return {};
  });
  return removal ? std::optional(std::move(*removal)) : std::nullopt;
}

Result<AssignmentReport> parse_report(std::string_view document) {
  return read<AssignmentReport>(document, "the agent's report", [](const json::object& from, AssignmentReport& out) -> Result<> {
    out.generation = number(from, "generation");
    out.public_key = text(from, "publicKey");
    out.instances = parts(from, "instances");
    out.processes = parts(from, "processes");
    out.errors = list(from, "errors");
    out.seen = text(from, "seen");
    return {};
  });
}

Result<DomainRequest> parse_request(std::string_view document) {
  return read<DomainRequest>(document, "the request", [](const json::object& from, DomainRequest& out) -> Result<> {
    out.application = text(from, "application");
    out.purpose = text(from, "purpose");
    out.domain = text(from, "domain");
    out.answerer = text(from, "answerer");
    out.nodes = list(from, "nodes");
    out.images = list(from, "images");
    if (const auto* asked = from.if_contains("flows")) {
      for (const auto& item : asked->as_array()) {
        const auto& flow = item.as_object();
        out.flows.push_back({text(flow, "name"), text(flow, "from"), text(flow, "to"),
                             number<std::uint16_t>(flow, "port"), text(flow, "data"), list(flow, "chain"),
                             list(flow, "proxies")});
      }
    }
    return {};
  });
}

Result<DomainAnswer> parse_answer(std::string_view document) {
  return read<DomainAnswer>(document, "the answer", [](const json::object& from, DomainAnswer& out) -> Result<> {
    out.question = text(from, "question");
    out.granted = boolean(from, "granted");
    out.reason = text(from, "reason");
    out.by = text(from, "by");
    return {};
  });
}

}  // namespace epif
