#include "agent/settings.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <set>

#include "api/pki.h"

namespace epif::agent {
namespace {

std::string place(const std::string& path, const YAML::Node& node) {
  return fmt::format("{}:{}:{}", path, node.Mark().line + 1, node.Mark().column + 1);
}

/// Thrown inside of this file only; read_settings turns it into an Error.
struct Fault {
  YAML::Node at;
  std::string what;
};

void only(const YAML::Node& map, const std::set<std::string>& known) {
  if (!map.IsMap()) throw Fault{map, "a map was expected"};
  for (const auto& entry : map) {
    const auto key = entry.first.as<std::string>();
    if (!known.contains(key)) throw Fault{entry.first, "unknown field '" + key + "'"};
  }
}

std::string text(const YAML::Node& map, const char* field) {
  const auto node = map[field];
  if (!node) return {};
  if (!node.IsScalar()) throw Fault{node, std::string(field) + " must be text"};
  return node.as<std::string>();
}

std::vector<std::string> texts(const YAML::Node& node) {
  std::vector<std::string> out;
  if (!node) return out;
  if (node.IsScalar()) return {node.as<std::string>()};
  if (!node.IsSequence()) throw Fault{node, "a list of text was expected"};
  for (const auto& item : node) out.push_back(item.as<std::string>());
  return out;
}

std::vector<AuthoriserRule> rules(const YAML::Node& list) {
  if (!list.IsSequence()) throw Fault{list, "a list of rules was expected"};
  std::vector<AuthoriserRule> out;
  for (const auto& item : list) {
    only(item, {"purpose", "application"});
    out.push_back({texts(item["purpose"]), texts(item["application"])});
  }
  return out;
}

Result<> fill(const YAML::Node& root, Settings& out) {
  only(root, {"orchestrator", "tokenFile", "node", "state", "engine", "mptcp", "authoriser", "provisioner"});
  out.orchestrator = text(root, "orchestrator");
  out.node = text(root, "node");
  out.state = text(root, "state");
  out.engine = text(root, "engine");
  if (const auto mptcp = root["mptcp"]) {
    if (!YAML::convert<bool>::decode(mptcp, out.mptcp)) throw Fault{mptcp, "mptcp must be true or false"};
  }
  if (const auto authoriser = root["authoriser"]) {
    only(authoriser, {"allow", "deny"});
    if (authoriser["allow"]) out.rules.allow = rules(authoriser["allow"]);
    if (authoriser["deny"]) out.rules.deny = rules(authoriser["deny"]);
  }
  if (const auto provisioner = root["provisioner"]) {
    only(provisioner, {"withhold"});
    out.rules.withheld = texts(provisioner["withhold"]);
  }
  if (const auto file = text(root, "tokenFile"); !file.empty()) {
    auto token = api::read_file(file);
    if (!token) return fail(token.error());
    while (!token->empty() && std::isspace(static_cast<unsigned char>(token->back()))) token->pop_back();
    out.token = std::move(*token);
  }
  return {};
}

}  // namespace

Result<Settings> read_settings(const std::string& path) {
  auto content = api::read_file(path);
  if (!content) return fail(content.error());
  Settings out;
  try {
    if (auto filled = fill(YAML::Load(*content), out); !filled) return fail(filled.error());
  } catch (const Fault& fault) {
    return fail(Code::invalid_input, fault.what, place(path, fault.at));
  } catch (const YAML::Exception& error) {
    return fail(Code::invalid_input, "not YAML", fmt::format("{}:{}:{}", path, error.mark.line + 1, error.mark.column + 1),
                error.msg);
  }
  return out;
}

}  // namespace epif::agent
