#pragma once
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "model/assignment.h"
#include "model/resource.h"
#include "orchestrator/aliases.h"
#include "orchestrator/naming.h"
#include "orchestrator/nginx_ports.h"
#include "planner/plan.h"

/// From decisions to what stands on each node: the redirector's table of the client, the table of every proxy on the
/// path with its part of the chain, and the bridging functions that run there. Pure and deterministic.
namespace epif::orchestrator {

struct InstallationInput {
  const ResourceSet& resources;
  const planner::Plan& plan;                       ///< of the granted applications and, for reasons, of the others
  std::set<std::string> granted{};                 ///< applications whose flows are installed; all else is refused
  std::map<std::string, std::string> refused{};    ///< application -> why not, for people
  std::map<std::string, std::string> public_keys{};  ///< proxy -> X25519 public key
  std::map<std::string, std::chrono::sys_seconds> expires{};   ///< "application/flow" -> end; absent: `default_expires`
  std::chrono::sys_seconds default_expires{};
  std::string policy_version{};
  NginxPorts nginx_ports{};                        ///< as assigned before: a flow keeps its port
  std::optional<Cidr> alias_range{};               ///< absent: programs reach named nodes by their own addresses
  ToldAliases aliases{};                           ///< as assigned before: what programs may have
  Names names{};                                   ///< with a range: what the granted flows' servers are reached by
  std::chrono::sys_seconds now{};                  ///< when aliases that were given back have rested
};

/// One Assignment for every Node and ProxyNode, by "domain/node". Per granted flow and server address:
///   client node     route: destination, next = first proxy (its identity and public key)
///   each proxy      route: peers = the hop before, its part of the chain, next = the following proxy or none
/// A flow of method nginx has instead, at the client and at its one proxy, the port that its NGINX listens on.
/// A flow with an empty chain takes the same path. Flows inside of one domain without a proxy need nothing and get nothing.
/// With an alias range the client has, for a named node of another domain behind a proxy, a route to the name's alias in place of the
/// one to the node's first IPv4 address; those to its other addresses bear no name there. The proxies' routes hold name and own
/// address. A flow to a named node to which `names` gives nothing is refused: the name must not come to mean something else.
/// An alias that a client had and that no route of it has any more is refused there while it rests (aliases.h), whatever the range is
/// by now; where it is outside of that, the address next to it as well, unless a route leads there.
/// What is in the range is refused where no route has it, at every node and whatever machine has an address there; to such a machine
/// no flow leads.
/// A client's table refuses, with the reason, flows that were not granted and every other destination in foreign domains.
[[nodiscard]] std::map<std::string, Assignment> install(const InstallationInput& input);

/// The id of a flow towards one server address, as it goes over the wire: opaque and stable, 32 hex digits.
[[nodiscard]] std::string flow_id(std::string_view application, std::string_view flow, std::string_view destination);

/// Instance name of a function on a proxy: the function's name in the alphabet and length of instance names.
[[nodiscard]] std::string instance_name(std::string_view function);

/// Fingerprint of what one application has on one node, apart from expiry. Equal for nothing at all on any node.
[[nodiscard]] std::string content_of(const Assignment& assignment, std::string_view application);

/// The nodes and proxies that take part in one planned flow: client and path. (The server needs nothing from us.)
[[nodiscard]] std::set<std::string> participants(const planner::Install& install);
/// Whether the flow stays in one domain and passes no proxy: Fig. 1's one-domain case, steps 1 and 8 alone.
[[nodiscard]] bool is_local(const planner::Install& install);
[[nodiscard]] std::string domain_of(std::string_view identity);

}  // namespace epif::orchestrator
