#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/aliases.h"
#include "orchestrator/judgement.h"

/// Which servers are asked for by name, and what their names mean. Pure.
namespace epif::orchestrator {

/// By hostname; none: the name means the node's own addresses, since several nodes have it.
using Names = std::map<std::string, std::optional<IpAddress>>;

/// Programs at the client reach the server by its name: it is in another domain, behind a proxy, and has an IPv4 address.
[[nodiscard]] bool goes_by_name(const planner::Install& install, const ResourceSet& resources);

/// Names of applications, oldest first.
struct Askers {
  std::vector<std::string> granted{};  ///< whose flows are installed, or are about to be
  std::vector<std::string> waiting{};  ///< whose domains have not answered yet
};

/// Gives the servers of the possible applications of `granted` their aliases. An application that lacks one fails and says why, and
/// takes none from the others; so does one whose server has an address that rests at the client. One of `waiting` takes none, and
/// fails where there would be none for it. Empty if the book has no range.
[[nodiscard]] Names give_aliases(Judgement& judgement, const ResourceSet& resources, const Askers& askers, AliasBook book);

}  // namespace epif::orchestrator
