#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "model/document.h"
#include "model/quantity.h"

namespace epif {
namespace {

namespace json = boost::json;

template <class List>
json::array texts(const List& list) {
  json::array made;
  for (const auto& item : list) made.emplace_back(std::string_view(item));
  return made;
}

json::array texts(const std::vector<IpAddress>& addresses) {
  json::array made;
  for (const auto& address : addresses) made.emplace_back(address.text());
  return made;
}

json::object text_map(const std::map<std::string, std::string>& map) {
  json::object made;
  for (const auto& [key, value] : map) made[key] = value;
  return made;
}

/// Adds a field unless its value is empty, which is every field's default.
void put(json::object& object, std::string_view field, json::value value) {
  const bool empty = (value.is_string() && value.get_string().empty()) || (value.is_array() && value.get_array().empty()) ||
                     (value.is_object() && value.get_object().empty()) || value.is_null();
  if (!empty) object[field] = std::move(value);
}

json::object spec_of(const Domain& domain) {
  json::object spec;
  put(spec, "jurisdiction", json::string(domain.jurisdiction));
  if (!domain.allow) return spec;
  json::array rules;
  for (const auto& rule : *domain.allow) {
    json::object made;
    put(made, "purpose", texts(rule.purposes));
    put(made, "application", texts(rule.applications));
    rules.push_back(std::move(made));
  }
  spec["authoriser"] = json::object{{"allow", std::move(rules)}};
  return spec;
}

json::object spec_of(const Attributes& attributes) {
  return {{"attributes", texts(attributes.attributes)}};
}

json::object spec_of(const BridgingFunction& function) {
  json::object spec;
  put(spec, "provides", texts(function.provides));
  put(spec, "image", json::string(function.image));
  put(spec, "pair", json::string(function.pair));
  if (function.place != Place::any) spec["place"] = name(function.place);
  if (function.trust != Trust::untrusted) spec["trust"] = name(function.trust);
  json::object cost;
  if (function.setup.count() != 0) cost["setup"] = print_duration(function.setup);
  if (function.per_gib.count() != 0) cost["perGiB"] = print_duration(function.per_gib);
  put(spec, "cost", std::move(cost));
  json::object order;
  put(order, "after", texts(function.after));
  put(order, "before", texts(function.before));
  put(spec, "order", std::move(order));
  put(spec, "parameters", text_map(function.parameters));
  return spec;
}

json::object spec_of(const ProxyNode& proxy) {
  json::object spec;
  put(spec, "addresses", texts(proxy.addresses));
  spec["engine"] = proxy.engine;
  json::object rtt;
  for (const auto& [peer, time] : proxy.rtt) rtt[peer] = print_duration(time);
  put(spec, "rtt", std::move(rtt));
  const ProxyNode standard;
  if (proxy.clear_port != standard.clear_port || proxy.tls_port != standard.tls_port) {
    spec["ports"] = json::object{{"clear", proxy.clear_port}, {"tls", proxy.tls_port}};
  }
  return spec;
}

json::object spec_of(const Node& node) {
  json::object spec;
  put(spec, "addresses", texts(node.addresses));
  put(spec, "attributes", texts(node.attributes));
  put(spec, "proxy", json::string(node.proxy));
  put(spec, "hostname", json::string(node.hostname));
  return spec;
}

json::object spec_of(const Policy& policy) {
  return {{"language", policy.language}, {"text", policy.text}};
}

json::object spec_of(const Consent& consent) {
  json::object spec{{"subject", consent.subject}};
  put(spec, "flows", texts(consent.flows));
  put(spec, "purposes", texts(consent.purposes));
  if (consent.expires) spec["expires"] = print_time(*consent.expires);
  return spec;
}

json::object flow_object(const Flow& flow) {
  json::object made{
      {"name", flow.name}, {"from", flow.from}, {"to", flow.to}, {"port", flow.port}, {"data", name(flow.data)}};
  if (flow.protocol != Protocol::tcp) made["protocol"] = name(flow.protocol);
  if (flow.profile != Profile::general) made["profile"] = name(flow.profile);
  if (flow.method != Method::automatic) made["method"] = name(flow.method);
  if (flow.volume != 0) made["volume"] = print_volume(flow.volume);
  json::object selector;
  put(selector, "user", json::string(flow.selector.user));
  put(selector, "cgroup", json::string(flow.selector.cgroup));
  put(made, "selector", std::move(selector));
  if (flow.replay_safe) made["replay"] = "safe";
  return made;
}

json::object spec_of(const Application& application) {
  json::object spec;
  put(spec, "purpose", json::string(application.purpose));
  put(spec, "archetype", json::string(application.archetype));
  json::array flows;
  for (const auto& flow : application.flows) flows.push_back(flow_object(flow));
  spec["flows"] = std::move(flows);
  return spec;
}

json::object document_of(const Resource& resource) {
  const auto& metadata = metadata_of(resource);
  json::object meta{{"name", metadata.name}};
  put(meta, "domain", json::string(metadata.domain));
  put(meta, "labels", text_map(metadata.labels));
  if (metadata.version != 0) meta["version"] = metadata.version;
  return {{"apiVersion", api_version},
          {"kind", name(kind_of(resource))},
          {"metadata", std::move(meta)},
          {"spec", std::visit([](const auto& value) { return spec_of(value); }, resource)}};
}

/// A block scalar ("|") keeps text as it is only if it ends in one newline and holds nothing that YAML would touch.
bool block_scalar_keeps(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || !text.ends_with('\n') || text.ends_with("\n\n")) return false;
  if (text.starts_with(' ') || text.starts_with('\n') || text.starts_with('#')) return false;
  return std::ranges::all_of(text, [](char byte) {
    const auto code = static_cast<unsigned char>(byte);
    return byte == '\n' || (code >= 0x20 && code < 0x7f);
  });
}

/// Text that yaml-cpp may write without quotes and that every YAML reader takes for text.
bool plain_text(std::string_view text) {
  const auto letter = [](char byte) { return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'); };
  const auto inner = [&](char byte) {
    return letter(byte) || (byte >= '0' && byte <= '9') || std::string_view("/._-").find(byte) != std::string_view::npos;
  };
  for (const auto* word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}) {
    if (std::ranges::equal(text, std::string_view(word), {}, [](char byte) { return static_cast<char>(byte | 0x20); }))
      return false;
  }
  return !text.empty() && letter(text.front()) && std::ranges::all_of(text, inner);
}

void emit(YAML::Emitter& out, const json::value& value) {
  if (const auto* object = value.if_object()) {
    out << YAML::BeginMap;
    for (const auto& [key, inner] : *object) {
      const std::string text(key.data(), key.size());
      out << YAML::Key;
      if (!plain_text(text)) out << YAML::DoubleQuoted;
      out << text << YAML::Value;
      emit(out, inner);
    }
    out << YAML::EndMap;
  } else if (const auto* array = value.if_array()) {
    const bool short_items = std::ranges::none_of(*array, [](const json::value& item) { return item.is_structured(); });
    out << (short_items ? YAML::Flow : YAML::Block) << YAML::BeginSeq;
    for (const auto& item : *array) emit(out, item);
    out << YAML::EndSeq;
  } else if (const auto* string = value.if_string()) {
    const std::string text(string->data(), string->size());
    if (block_scalar_keeps(text))
      out << YAML::Literal;
    else if (!plain_text(text))
      out << YAML::DoubleQuoted;
    out << text;
  } else {
    out << json::serialize(value);
  }
}

}  // namespace

std::string to_json(const Resource& resource) {
  return json::serialize(document_of(resource));
}

std::string to_yaml(const Resource& resource) {
  YAML::Emitter out;
  emit(out, document_of(resource));
  return std::string(out.c_str()) + "\n";
}

}  // namespace epif
