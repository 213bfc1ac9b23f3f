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

/// Gives the servers of all possible applications their aliases, oldest first. An application that lacks one fails and says why, and
/// takes none from the others; so does one whose server has an address that rests at the client. Empty if the book has no range.
[[nodiscard]] Names give_aliases(Judgement& judgement, const ResourceSet& resources, const std::vector<std::string>& oldest_first,
                                 AliasBook book);

}  // namespace epif::orchestrator
