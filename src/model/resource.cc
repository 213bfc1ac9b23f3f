#include "model/resource.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace epif {
namespace {

struct KindNames {
  std::string_view singular;
  std::string_view plural;
};

constexpr std::array<KindNames, all_kinds.size()> kind_names{{{"Domain", "domains"},
                                                              {"Attributes", "attributes"},
                                                              {"BridgingFunction", "bridgingfunctions"},
                                                              {"ProxyNode", "proxynodes"},
                                                              {"Node", "nodes"},
                                                              {"Policy", "policies"},
                                                              {"Consent", "consents"},
                                                              {"Application", "applications"}}};
static_assert(std::variant_size_v<Resource> == all_kinds.size());

bool equal_ignoring_case(std::string_view left, std::string_view right) {
  const auto lower = [](char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter; };
  return std::ranges::equal(left, right, {}, lower, lower);
}

/// The one map of a set that holds values of type T.
template <class T, class Set>
auto& map_of(Set& set) {
  if constexpr (std::is_same_v<T, Domain>)
    return set.domains;
  else if constexpr (std::is_same_v<T, Attributes>)
    return set.attributes;
  else if constexpr (std::is_same_v<T, BridgingFunction>)
    return set.functions;
  else if constexpr (std::is_same_v<T, ProxyNode>)
    return set.proxies;
  else if constexpr (std::is_same_v<T, Node>)
    return set.nodes;
  else if constexpr (std::is_same_v<T, Policy>)
    return set.policies;
  else if constexpr (std::is_same_v<T, Consent>)
    return set.consents;
  else
    return set.applications;
}

/// Calls `visit` with the set's map of this kind.
template <class Set, class Visit>
auto with_map(Set& set, Kind kind, Visit visit) {
  switch (kind) {
    case Kind::domain: return visit(set.domains);
    case Kind::attributes: return visit(set.attributes);
    case Kind::bridging_function: return visit(set.functions);
    case Kind::proxy_node: return visit(set.proxies);
    case Kind::node: return visit(set.nodes);
    case Kind::policy: return visit(set.policies);
    case Kind::consent: return visit(set.consents);
    case Kind::application: break;
  }
  return visit(set.applications);
}

}  // namespace

std::string_view name(Kind kind) {
  return kind_names[static_cast<std::size_t>(kind)].singular;
}
std::string_view plural_name(Kind kind) {
  return kind_names[static_cast<std::size_t>(kind)].plural;
}

std::optional<Kind> parse_kind(std::string_view text) {
  for (const auto kind : all_kinds) {
    if (equal_ignoring_case(text, name(kind)) || equal_ignoring_case(text, plural_name(kind))) return kind;
  }
  return std::nullopt;
}

Kind kind_of(const Resource& resource) {
  return all_kinds[resource.index()];
}
const Metadata& metadata_of(const Resource& resource) {
  return std::visit([](const auto& value) -> const Metadata& { return value.metadata; }, resource);
}
Metadata& metadata_of(Resource& resource) {
  return std::visit([](auto& value) -> Metadata& { return value.metadata; }, resource);
}

std::string_view name(Protocol protocol) { return protocol == Protocol::udp ? "udp" : "tcp"; }

std::string_view name(DataDirection direction) {
  switch (direction) {
    case DataDirection::push: return "push";
    case DataDirection::pull: return "pull";
    case DataDirection::both: break;
  }
  return "both";
}

std::string_view name(Profile profile) {
  switch (profile) {
    case Profile::general: return "general";
    case Profile::bulk: return "bulk";
    case Profile::streaming: return "streaming";
    case Profile::interactive: return "interactive";
    case Profile::http: return "http";
    case Profile::time_critical: break;
  }
  return "time-critical";
}

std::string_view name(Method method) {
  switch (method) {
    case Method::automatic: return "auto";
    case Method::socks6: return "socks6";
    case Method::socks5: return "socks5";
    case Method::nginx: return "nginx";
    case Method::direct: break;
  }
  return "direct";
}

std::string_view name(Place place) {
  switch (place) {
    case Place::any: return "any";
    case Place::source: return "source";
    case Place::destination: break;
  }
  return "destination";
}

std::string_view name(Trust trust) {
  return trust == Trust::platform ? "platform" : "untrusted";
}

Result<> ResourceSet::add(Resource resource) {
  return std::visit(
      [this](auto&& value) -> Result<> {
        using T = std::decay_t<decltype(value)>;
        const auto full_name = value.metadata.full_name();
        const auto origin = value.metadata.origin.text();
        const auto [at, added] = map_of<T>(*this).try_emplace(full_name, std::move(value));
        if (added) return {};
        const auto kind = name(kind_of(Resource(at->second)));
        const auto first = at->second.metadata.origin.text();
        return fail(Code::conflict, fmt::format("{} '{}' is defined twice", kind, full_name), origin,
                    first.empty() ? "" : "first at " + first, "rename or remove one");
      },
      std::move(resource));
}

void ResourceSet::put(Resource resource) {
  std::visit(
      [this](auto&& value) {
        using T = std::decay_t<decltype(value)>;
        auto full_name = value.metadata.full_name();
        map_of<T>(*this).insert_or_assign(std::move(full_name), std::move(value));
      },
      std::move(resource));
}

bool ResourceSet::remove(Kind kind, const std::string& full_name) {
  return with_map(*this, kind, [&](auto& map) { return map.erase(full_name) > 0; });
}

std::optional<Resource> ResourceSet::find(Kind kind, const std::string& full_name) const {
  return with_map(*this, kind, [&](const auto& map) -> std::optional<Resource> {
    const auto at = map.find(full_name);
    if (at == map.end()) return std::nullopt;
    return Resource(at->second);
  });
}

std::size_t ResourceSet::size() const {
  std::size_t sum = 0;
  for (const auto kind : all_kinds) sum += with_map(*this, kind, [](const auto& map) { return map.size(); });
  return sum;
}

}  // namespace epif
