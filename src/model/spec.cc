#include "model/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/limits.h"
#include "model/quantity.h"

namespace epif {
namespace {

AttributeSet read_attribute_set(const Field& field) {
  AttributeSet names;
  for (const auto& item : field.list()) names.push_back(read_name(item));
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end()) field.refuse(fmt::format("'{}' stands twice", *twice), "keep one");
  return names;
}

std::vector<std::string> read_names(const Field& field) {
  std::vector<std::string> names;
  for (const auto& item : field.list()) names.push_back(read_name(item));
  return names;
}

std::vector<IpAddress> read_addresses(const Field& field) {
  std::vector<IpAddress> addresses;
  for (const auto& item : field.list()) {
    // As rules and routes compare them: ::ffff:10.2.0.9 is the host 10.2.0.9.
    addresses.push_back(item.parsed(IpAddress::parse).unmapped());
    if (addresses.back().is_any() && item.tree) item.refuse("no host has this address", "write the address that others connect to");
  }
  return addresses;
}

std::map<std::string, std::string> read_text_map(const Field& field) {
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : field.map()) texts[key] = value.text();
  return texts;
}

Flow read_flow(const Field& field) {
  Fields fields(field);
  Flow flow;
  if (field.tree) flow.origin = field.reading.origin(*field.tree);
  flow.name = read_name(fields.required("name"));
  flow.from = read_full_name(fields.required("from"));
  flow.to = read_full_name(fields.required("to"));
  flow.port = static_cast<std::uint16_t>(fields.required("port").number(1, 65535));
  flow.protocol = fields.get("protocol").choice<Protocol>({{"tcp", Protocol::tcp}, {"udp", Protocol::udp}}, Protocol::tcp);
  flow.data = fields.get("data").choice<DataDirection>(
      {{"push", DataDirection::push}, {"pull", DataDirection::pull}, {"both", DataDirection::both}}, DataDirection::both);
  flow.profile = fields.get("profile").choice<Profile>({{"general", Profile::general},
                                                        {"bulk", Profile::bulk},
                                                        {"streaming", Profile::streaming},
                                                        {"interactive", Profile::interactive},
                                                        {"time-critical", Profile::time_critical},
                                                        {"http", Profile::http}},
                                                       Profile::general);
  flow.method = fields.get("method").choice<Method>(
      {{"auto", Method::automatic}, {"socks6", Method::socks6}, {"socks5", Method::socks5}, {"nginx", Method::nginx}},
      Method::automatic);
  flow.volume = fields.get("volume").parsed(parse_volume);
  if (const auto selector = fields.get("selector")) {
    Fields parts(selector);
    flow.selector.user = parts.get("user").text();
    flow.selector.cgroup = parts.get("cgroup").text();
    parts.done();
  }
  flow.replay_safe = fields.get("replay").choice<bool>({{"safe", true}, {"unsafe", false}}, false);
  fields.done();
  return flow;
}

}  // namespace

std::string read_full_name(const Field& field) {
  const auto text = field.text();
  const auto slash = text.find('/');
  const bool parts =
      slash != std::string::npos && slash > 0 && slash + 1 < text.size() && text.find('/', slash + 1) == std::string::npos;
  if (field && !parts) field.refuse(fmt::format("'{}' is not the full name of a machine", text), "write DOMAIN/NAME");
  return text;
}

Domain read_domain(const Field& spec) {
  Fields fields(spec);
  Domain domain;
  domain.jurisdiction = fields.get("jurisdiction").text();
  if (const auto authoriser = fields.get("authoriser")) {
    Fields parts(authoriser);
    domain.allow.emplace();
    for (const auto& item : parts.required("allow").list()) {
      Fields rule(item);
      domain.allow->push_back({rule.get("purpose").texts(), rule.get("application").texts()});
      rule.done();
    }
    parts.done();
  }
  fields.done();
  return domain;
}

Attributes read_attributes(const Field& spec) {
  Fields fields(spec);
  Attributes attributes;
  attributes.attributes = read_attribute_set(fields.required("attributes"));
  fields.done();
  return attributes;
}

BridgingFunction read_function(const Field& spec) {
  Fields fields(spec);
  BridgingFunction function;
  function.provides = read_attribute_set(fields.get("provides"));
  function.image = fields.get("image").text();
  if (const auto pair = fields.get("pair")) function.pair = read_name(pair);
  function.place = fields.get("place").choice<Place>(
      {{"any", Place::any}, {"source", Place::source}, {"destination", Place::destination}}, Place::any);
  function.trust =
      fields.get("trust").choice<Trust>({{"untrusted", Trust::untrusted}, {"platform", Trust::platform}}, Trust::untrusted);
  if (const auto cost = fields.get("cost")) {
    Fields parts(cost);
    function.setup = parts.get("setup").parsed(parse_duration);
    function.per_gib = parts.get("perGiB").parsed(parse_duration);
    parts.done();
  }
  if (const auto order = fields.get("order")) {
    Fields parts(order);
    function.after = read_names(parts.get("after"));
    function.before = read_names(parts.get("before"));
    parts.done();
  }
  function.parameters = read_text_map(fields.get("parameters"));
  fields.done();
  return function;
}

ProxyNode read_proxy(const Field& spec) {
  Fields fields(spec);
  ProxyNode proxy;
  proxy.addresses = read_addresses(fields.get("addresses"));
  proxy.engine = fields.get("engine").choice<std::string>({{"podman", "podman"}, {"docker", "docker"}}, "podman");
  for (const auto& [peer, time] : fields.get("rtt").map()) proxy.rtt[peer] = time.parsed(parse_duration);
  if (const auto ports = fields.get("ports")) {
    Fields parts(ports);
    if (const auto clear = parts.get("clear")) proxy.clear_port = static_cast<std::uint16_t>(clear.number(1, 65535));
    if (const auto tls = parts.get("tls")) proxy.tls_port = static_cast<std::uint16_t>(tls.number(1, 65535));
    parts.done();
  }
  fields.done();
  return proxy;
}

Node read_node(const Field& spec) {
  Fields fields(spec);
  Node node;
  node.addresses = read_addresses(fields.get("addresses"));
  node.attributes = read_attribute_set(fields.get("attributes"));
  if (const auto proxy = fields.get("proxy")) {
    const bool full = proxy.text().find('/') != std::string::npos;
    node.proxy = full ? read_full_name(proxy) : read_name(proxy);
  }
  node.hostname = fields.get("hostname").text();
  fields.done();
  return node;
}

Policy read_policy(const Field& spec) {
  Fields fields(spec);
  Policy policy;
  const auto language = fields.get("language");
  if (language && language.text() != policy.language) {
    language.refuse(fmt::format("'{}' is not known", language.text()), "write cedar");
  }
  const auto text = fields.required("text");
  policy.text = text.text();
  if (text) policy.text_origin = text.reading.origin(*text.tree);
  fields.done();
  return policy;
}

Consent read_consent(const Field& spec) {
  Fields fields(spec);
  Consent consent;
  consent.subject = fields.required("subject").text();
  consent.flows = fields.get("flows").texts();
  consent.purposes = fields.get("purposes").texts();
  if (const auto expires = fields.get("expires")) consent.expires = expires.parsed(parse_time);
  fields.done();
  return consent;
}

Application read_application(const Field& spec) {
  Fields fields(spec);
  Application application;
  application.purpose = fields.get("purpose").text();
  application.archetype = fields.get("archetype").text();
  std::set<std::string> names;
  for (const auto& item : fields.get("flows").list()) {
    application.flows.push_back(read_flow(item));
    const auto& added = application.flows.back().name;
    if (!names.insert(added).second) {
      item.refuse(fmt::format("a flow '{}' stands here already", added), "names of flows are unique");
    }
  }
  fields.done();
  return application;
}

}  // namespace epif
