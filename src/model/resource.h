#pragma once
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"
#include "model/application.h"
#include "model/governance.h"
#include "model/infrastructure.h"

namespace epif {

inline constexpr std::string_view api_version = "epif/v1";

/// Kinds in the order in which they are applied: what others refer to comes first.
enum class Kind { domain, attributes, bridging_function, proxy_node, node, policy, consent, application };
inline constexpr std::array all_kinds{Kind::domain, Kind::attributes, Kind::bridging_function, Kind::proxy_node,
                                      Kind::node,   Kind::policy,     Kind::consent,           Kind::application};

/// Alternatives stand in the order of `Kind`.
using Resource = std::variant<Domain, Attributes, BridgingFunction, ProxyNode, Node, Policy, Consent, Application>;

[[nodiscard]] std::string_view name(Kind kind);         ///< as in `kind:`: "BridgingFunction"
[[nodiscard]] std::string_view plural_name(Kind kind);  ///< as in the HTTP API and `epif get`: "bridgingfunctions"
/// Understands `kind:`, singular and plural, in any case.
[[nodiscard]] std::optional<Kind> parse_kind(std::string_view text);

[[nodiscard]] Kind kind_of(const Resource& resource);
[[nodiscard]] const Metadata& metadata_of(const Resource& resource);
[[nodiscard]] Metadata& metadata_of(Resource& resource);

/// All resources of one input or one moment of the store, by full name ("domain/node" for Node and ProxyNode, else the
/// name). What it holds is unique by kind and name, and every address belongs to one machine.
struct ResourceSet {
  std::map<std::string, Domain> domains;
  std::map<std::string, Attributes> attributes;
  std::map<std::string, BridgingFunction> functions;
  std::map<std::string, ProxyNode> proxies;
  std::map<std::string, Node> nodes;
  std::map<std::string, Policy> policies;
  std::map<std::string, Consent> consents;
  std::map<std::string, Application> applications;

  /// Adds; Code::conflict where kind and name exist already (both origins named).
  [[nodiscard]] Result<> add(Resource resource);
  /// Adds or replaces.
  void put(Resource resource);
  /// Whether there was one to remove.
  bool remove(Kind kind, const std::string& full_name);
  [[nodiscard]] std::optional<Resource> find(Kind kind, const std::string& full_name) const;
  [[nodiscard]] std::size_t size() const;

  /// Everything one resource says about others: two machines with one address, a node's unknown proxy, a function's
  /// unknown pair or order, a broken pair, a flow's unknown node, an rtt to nobody. The first fault in the order of
  /// kinds and names; its `where` is file:line:column if known, and it names object and field.
  [[nodiscard]] Result<> check() const;

  friend bool operator==(const ResourceSet&, const ResourceSet&) = default;
};

}  // namespace epif
