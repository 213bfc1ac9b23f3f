#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "model/assignment.h"
#include "model/resource.h"

/// The addresses by which programs reach named nodes of other domains. The redirectors map each back to its name, so it says nothing of
/// where a node really is, and private ranges may overlap. The assignments in the store are the only memory. Pure.
namespace epif::orchestrator {

/// The range that a user wishes: an IPv4 block of 4 addresses or more, in which no address has a meaning of its own (loopback,
/// link-local, multicast and such): a redirector must neither capture nor guard these. Errors: usage.
[[nodiscard]] Result<Cidr> parse_alias_range(std::string_view text);

/// hostname -> alias
using Aliases = std::map<std::string, IpAddress>;

/// Adds the aliases that a client's assignment holds.
void note_aliases(const Assignment& assignment, const Cidr& range, Aliases& aliases);

/// Why no flow may lead to this node by its own addresses: one is of the range, where redirectors take it for a name's. Empty if none is.
[[nodiscard]] std::string alias_clash(const std::string& name, const Node& node, const std::optional<Cidr>& range);

/// Gives out the addresses of a range. A name that had one keeps it; a new one gets it by its spelling, so that an address that was
/// given back does not go to the next name: what a program has cached must not mean another node.
class AliasBook {
 public:
  /// `range`: IPv4. It stays ours wherever machines are, since programs may have been told any of it: the address of a machine of
  /// `resources` is only never given to a name that has none yet.
  AliasBook(const std::optional<Cidr>& range, const Aliases& known, const ResourceSet& resources);
  /// Nothing without a range, if all of it is taken, and for a name that several nodes have.
  [[nodiscard]] std::optional<IpAddress> take(const std::string& hostname);

 private:
  std::optional<Cidr> range_;
  Aliases given_;
  std::set<IpAddress> taken_;
  std::set<std::string> ambiguous_;
};

}  // namespace epif::orchestrator
