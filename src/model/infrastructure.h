#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "model/metadata.h"

/// The domains' side: who takes part, with which machines, and which functions can be put between them.
namespace epif {

/// Attribute names, sorted and unique.
using AttributeSet = std::vector<std::string>;

/// One line of a domain's authoriser. An empty list matches everything; all lists must match.
struct AuthoriserRule {
  std::vector<std::string> purposes;      ///< `purpose`
  std::vector<std::string> applications;  ///< `application`
  friend bool operator==(const AuthoriserRule&, const AuthoriserRule&) = default;
};

struct Domain {
  Metadata metadata;
  std::string jurisdiction;
  /// Absent: refuses nothing at plan time. Present: only what one of its rules allows.
  std::optional<std::vector<AuthoriserRule>> allow;
  friend bool operator==(const Domain&, const Domain&) = default;
};

struct Node {
  Metadata metadata;
  std::vector<IpAddress> addresses;
  AttributeSet attributes;
  std::string proxy;     ///< "domain/proxy", completed with the node's own domain when read; empty: none
  std::string hostname;  ///< the name by which programs ask for it; empty: none
  friend bool operator==(const Node&, const Node&) = default;
};

struct ProxyNode {
  Metadata metadata;
  std::vector<IpAddress> addresses;
  std::string engine = "podman";  ///< podman or docker
  /// Round-trip times to other proxies and to nodes, by "domain/name", or by name alone where only one has it.
  std::map<std::string, std::chrono::microseconds> rtt;
  std::uint16_t clear_port = 1080;  ///< `ports: {clear, tls}`
  std::uint16_t tls_port = 1083;
  friend bool operator==(const ProxyNode&, const ProxyNode&) = default;
};

/// Which proxy may hold a function, by the direction of the data.
enum class Place { any, source, destination };
/// Who vouches for an image (architecture.md rule 6).
enum class Trust { untrusted, platform };

[[nodiscard]] std::string_view name(Place place);
[[nodiscard]] std::string_view name(Trust trust);

struct BridgingFunction {
  Metadata metadata;
  AttributeSet provides;
  std::string image;  ///< with digest; empty: only for planning
  std::string pair;   ///< this is a first half; its second half's name. Empty: stands alone or is a second half
  Place place = Place::any;
  Trust trust = Trust::untrusted;
  std::chrono::microseconds setup{0};             ///< `cost.setup`
  std::chrono::microseconds per_gib{0};           ///< `cost.perGiB`
  std::vector<std::string> after;                 ///< `order.after`: these functions see the data before this one
  std::vector<std::string> before;                ///< `order.before`
  std::map<std::string, std::string> parameters;  ///< handed to the function with each connection
  friend bool operator==(const BridgingFunction&, const BridgingFunction&) = default;
};

/// Attributes that exist although no node or function names them yet.
struct Attributes {
  Metadata metadata;
  AttributeSet attributes;
  friend bool operator==(const Attributes&, const Attributes&) = default;
};

}  // namespace epif
