#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "base/spelling.h"
#include "model/resource.h"

// What one resource says about others (ResourceSet::check).
namespace epif {
namespace {

std::unexpected<Error> fault(Code code, const Metadata& object, Kind kind, std::string_view field, std::string what,
                             std::string advice = {}, const Origin* place = nullptr) {
  const auto& origin = place && place->line != 0 ? *place : object.origin;
  return fail(code, fmt::format("{} '{}', {}: {}", name(kind), object.full_name(), field, what), origin.text(), {},
              std::move(advice));
}

/// A known name with a spelling near `wanted`, to help with a typo.
template <class Map>
std::string suggest(const Map& known, std::string_view wanted, std::string otherwise) {
  for (const auto& [full_name, value] : known) {
    if (is_near(full_name, wanted)) return "did you mean '" + full_name + "'?";
  }
  return otherwise;
}

Result<> check_addresses(const ResourceSet& set) {
  struct Owner {
    const Metadata* metadata;
    Kind kind;
  };
  std::map<IpAddress, Owner> owners;
  const auto claim = [&](const auto& machine, Kind kind) -> Result<> {
    for (const auto& address : machine.addresses) {
      const auto [at, free] = owners.try_emplace(address.unmapped(), Owner{&machine.metadata, kind});
      if (free) continue;
      const auto& other = at->second;
      if (other.metadata == &machine.metadata) {
        return fault(Code::invalid_input, machine.metadata, kind, "spec.addresses", address.text() + " stands twice");
      }
      const auto place = other.metadata->origin.text();
      return fault(Code::conflict, machine.metadata, kind, "spec.addresses",
                   fmt::format("{} belongs to {} '{}' already{}", address.text(), name(other.kind),
                               other.metadata->full_name(), place.empty() ? "" : " (" + place + ")"),
                   "an address belongs to one machine");
    }
    return {};
  };
  for (const auto& [full_name, proxy] : set.proxies) {
    if (auto done = claim(proxy, Kind::proxy_node); !done) return done;
  }
  for (const auto& [full_name, node] : set.nodes) {
    if (auto done = claim(node, Kind::node); !done) return done;
  }
  return {};
}

/// Finds who a name in `rtt` means: the full name, one of the own domain, or the only one with that name.
std::size_t machines_named(const ResourceSet& set, const std::string& domain, const std::string& wanted) {
  if (set.proxies.contains(wanted) || set.nodes.contains(wanted)) return 1;
  const auto own = domain + "/" + wanted;
  if (set.proxies.contains(own) || set.nodes.contains(own)) return 1;
  std::size_t count = 0;
  for (const auto& [full_name, proxy] : set.proxies) count += proxy.metadata.name == wanted;
  for (const auto& [full_name, node] : set.nodes) count += node.metadata.name == wanted;
  return count;
}

Result<> check_machines(const ResourceSet& set) {
  for (const auto& [full_name, proxy] : set.proxies) {
    if (set.nodes.contains(full_name)) {
      return fault(Code::conflict, proxy.metadata, Kind::proxy_node, "metadata.name", "a Node has the same name",
                   "names of machines are unique within a domain");
    }
    for (const auto& [wanted, time] : proxy.rtt) {
      const auto count = machines_named(set, proxy.metadata.domain, wanted);
      if (count == 1) continue;
      return fault(Code::not_found, proxy.metadata, Kind::proxy_node, "spec.rtt",
                   fmt::format("{} machine is called '{}'", count == 0 ? "no" : "more than one", wanted),
                   "write DOMAIN/NAME of a ProxyNode or a Node");
    }
  }
  for (const auto& [full_name, node] : set.nodes) {
    if (node.proxy.empty() || set.proxies.contains(node.proxy)) continue;
    return fault(Code::not_found, node.metadata, Kind::node, "spec.proxy",
                 fmt::format("there is no ProxyNode '{}'", node.proxy),
                 suggest(set.proxies, node.proxy, "add the ProxyNode or correct the name"));
  }
  return {};
}

Result<> check_functions(const ResourceSet& set) {
  std::map<std::string, std::string> first_half_of;
  for (const auto& [full_name, function] : set.functions) {
    const auto broken = [&](std::string_view field, std::string what, std::string advice = {}) {
      return fault(Code::invalid_input, function.metadata, Kind::bridging_function, field, std::move(what),
                   std::move(advice));
    };
    for (const auto* list : {&function.after, &function.before}) {
      const auto field = list == &function.after ? "spec.order.after" : "spec.order.before";
      for (const auto& other : *list) {
        if (set.functions.contains(other)) continue;
        return fault(Code::not_found, function.metadata, Kind::bridging_function, field,
                     fmt::format("there is no BridgingFunction '{}'", other),
                     suggest(set.functions, other, "add it or correct the name"));
      }
    }
    if (function.pair.empty()) continue;
    if (function.pair == full_name) return broken("spec.pair", "it names itself", "name the second half");
    const auto second = set.functions.find(function.pair);
    if (second == set.functions.end()) {
      return fault(Code::not_found, function.metadata, Kind::bridging_function, "spec.pair",
                   fmt::format("there is no BridgingFunction '{}'", function.pair),
                   suggest(set.functions, function.pair, "the second half is a BridgingFunction of its own"));
    }
    if (!second->second.pair.empty()) {
      return broken("spec.pair", fmt::format("'{}' names a pair, too", function.pair), "only the first half names its pair");
    }
    const auto [at, free] = first_half_of.try_emplace(function.pair, full_name);
    if (!free) {
      return broken("spec.pair", fmt::format("'{}' is the second half of '{}' already", function.pair, at->second),
                    "a second half belongs to one first half");
    }
  }
  return {};
}

Result<> check_applications(const ResourceSet& set) {
  for (const auto& [full_name, application] : set.applications) {
    for (std::size_t at = 0; at < application.flows.size(); ++at) {
      const auto& flow = application.flows[at];
      for (const auto* end : {&flow.from, &flow.to}) {
        if (set.nodes.contains(*end)) continue;
        const auto field = fmt::format("flow '{}', spec.flows[{}].{}", flow.name, at, end == &flow.from ? "from" : "to");
        const bool proxy = set.proxies.contains(*end);
        return fault(Code::not_found, application.metadata, Kind::application, field,
                     proxy ? fmt::format("'{}' is a ProxyNode; flows begin and end at Nodes", *end)
                           : fmt::format("there is no Node '{}'", *end),
                     suggest(set.nodes, *end, "add the Node or correct DOMAIN/NAME"), &flow.origin);
      }
    }
  }
  return {};
}

}  // namespace

Result<> ResourceSet::check() const {
  if (auto done = check_functions(*this); !done) return done;
  if (auto done = check_machines(*this); !done) return done;
  if (auto done = check_addresses(*this); !done) return done;
  return check_applications(*this);
}

}  // namespace epif
