#include "orchestrator/installation.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/bytes.h"
#include "orchestrator/foreign.h"

namespace epif::orchestrator {
namespace {

std::string sha256(std::string_view text) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
  return to_hex({digest.data(), length});
}

CaptureTarget target(const IpAddress& address, std::uint16_t port) {
  const auto bits = static_cast<std::uint8_t>(address.is_v4() ? 32 : 128);
  return {{address, bits}, {port, port}};
}

/// Both halves of a pair carry the name of the first one.
std::string pair_label(const ResourceSet& resources, const BridgingFunction& function) {
  if (!function.pair.empty()) return function.metadata.name;
  for (const auto& [name, other] : resources.functions) {
    if (other.pair == function.metadata.name) return name;
  }
  return {};
}

const Flow* find_flow(const ResourceSet& resources, const planner::Install& install) {
  const auto application = resources.applications.find(install.application);
  if (application == resources.applications.end()) return nullptr;
  const auto& flows = application->second.flows;
  const auto flow = std::find_if(flows.begin(), flows.end(), [&](const Flow& one) { return one.name == install.flow; });
  return flow == flows.end() ? nullptr : &*flow;
}

/// The tables of all nodes while flows are put into them.
class Tables {
 public:
  explicit Tables(const InstallationInput& input)
      : input_(input), ports_(input.nginx_ports) {
    for (const auto& [name, node] : input.resources.nodes) {
      out_[name].node = out_[name].routes.node = name;
    }
    for (const auto& [name, proxy] : input.resources.proxies) {
      auto& assignment = out_[name];
      assignment.node = assignment.routes.node = name;
      assignment.role = Role::proxy;
      assignment.engine = proxy.engine;
      assignment.listen = listen_address(proxy);
    }
  }

  void add(const planner::Install& install) {
    const auto server = input_.resources.nodes.find(install.to);
    if (server == input_.resources.nodes.end() || (install.feasible && is_local(install))) return;
    auto reason = refusal(install);
    if (reason.empty()) reason = alias_clash(install.to, server->second, input_.alias_range);
    if (reason.empty() && input_.alias_range && goes_by_name(install, input_.resources) && !input_.names.contains(server->second.hostname)) {
      reason = server->second.hostname + " has no alias";
    }
    for (const auto& address : server->second.addresses) {
      const auto destination = target(address, install.port);
      if (const auto other = resting_name(install.from, address); reason.empty() && !other.empty()) {
        add_refusals(install, destination, address.text() + " was the alias of " + other + ", and programs may still have it");
      } else if (reason.empty()) {
        add_routes(install, server->second, destination);
      } else {
        add_refusals(install, destination, reason);
      }
    }
  }

  /// Foreign nodes that no flow leads to are refused as well: a redirector captures what it has a reason to refuse.
  void refuse_the_rest() {
    const Addresses addresses(input_.resources);
    std::map<std::string_view, std::vector<ForeignBlock>> outside;
    for (const auto& [name, node] : input_.resources.nodes) {
      const auto [blocks, first] = outside.try_emplace(node.metadata.domain);
      if (first) blocks->second = addresses.outside(node.metadata.domain);
      auto& refusals = out_[name].routes.refusals;
      refusals.reserve(refusals.size() + blocks->second.size());
      for (const auto& foreign : blocks->second) {
        const auto whose = !foreign.node.empty() ? foreign.node : "a node of " + (foreign.domain.empty() ? "another domain" : foreign.domain);
        refusals.push_back({{foreign.block, {}}, {}, "no application was granted a flow from " + name + " to this port of " + whose});
      }
      // What a program has cached must not leave the node once its route has gone.
      if (!input_.alias_range) continue;
      const auto why = "no application was granted a flow from " + name + " to this port of a node by its name";
      refusals.push_back({{*input_.alias_range, {}}, {}, why});
    }
  }

  std::map<std::string, Assignment> finish() {
    for (auto& [name, assignment] : out_) {
      remember_aliases(assignment);
      std::ranges::stable_sort(assignment.routes.routes, {}, [](const Route& route) { return route.flow; });
      std::ranges::sort(assignment.instances, {}, &WishedInstance::name);
      auto& refusals = assignment.routes.refusals;
      std::erase_if(refusals, [&](const Refusal& refusal) {
        return std::ranges::any_of(assignment.routes.routes,
                                   [&](const Route& route) { return route.destination == refusal.destination; });
      });
    }
    return std::move(out_);
  }

 private:
  /// The name whose alias this was at the client, if programs there may have it cached; else empty.
  std::string resting_name(const std::string& client, const IpAddress& address) const {
    const auto told = input_.aliases.find(client);
    if (told == input_.aliases.end()) return {};
    const auto& all = told->second.aliases;
    const auto at = std::ranges::find_if(all, [&](const ToldAlias& one) {
      return one.address == address && (one.freed == 0 || rests(one, input_.now));
    });
    return at == all.end() ? std::string() : at->name;
  }

  void remember_aliases(Assignment& assignment) {
    const auto told = input_.aliases.find(assignment.node);
    const auto before = told == input_.aliases.end() ? Told{} : told->second;
    assignment.aliases = told_next(before, assignment.role, aliases_in_use_[assignment.node], input_.now);
    if (assignment.role == Role::proxy) return;  // remembered for when it is a node again
    auto& refusals = assignment.routes.refusals;
    std::ranges::move(resting_refusals(assignment.aliases, input_.alias_range, input_.now), std::back_inserter(refusals));
  }

  /// Its first address, which is the one that the hops before it are given.
  static SocketAddress listen_address(const ProxyNode& proxy) {
    return {proxy.addresses.empty() ? IpAddress() : proxy.addresses.front(), proxy.tls_port};
  }

  std::string refusal(const planner::Install& install) const {
    if (const auto why = input_.refused.find(install.application); why != input_.refused.end()) {
      return install.feasible ? why->second : install.reason;
    }
    if (!install.feasible) return install.reason;
    for (const auto& proxy : install.proxies) {
      // Without a hop the route would lead straight to the server.
      if (!hop_to(proxy)) return "proxy " + proxy + " has no address";
    }
    return input_.granted.contains(install.application) ? "" : "the application is not ready yet";
  }

  Route route_for(const planner::Install& install, const Node& server, const CaptureTarget& destination) const {
    Route route;
    route.id = flow_id(install.application, install.flow, destination.text());
    route.flow = install.application + "/" + install.flow;
    route.destination = destination;
    route.name = server.hostname;
    route.data = install.data;
    route.purpose = install.purpose;
    route.policy = install.policies.empty() ? "" : install.policies.front();
    route.policy_version = input_.policy_version;
    const auto end = input_.expires.find(route.flow);
    route.expires = end == input_.expires.end() ? input_.default_expires : end->second;
    if (const auto* flow = find_flow(input_.resources, install)) {
      route.protocol = flow->protocol;
      route.replay_safe = flow->replay_safe;
    }
    return route;
  }

  std::optional<NextHop> hop_to(const std::string& proxy) const {
    const auto found = input_.resources.proxies.find(proxy);
    if (found == input_.resources.proxies.end() || found->second.addresses.empty()) return {};
    const auto key = input_.public_keys.find(proxy);
    return NextHop{{found->second.addresses.front(), found->second.tls_port},
                   proxy,
                   key == input_.public_keys.end() ? "" : key->second};
  }

  void add_routes(const planner::Install& install, const Node& server, const CaptureTarget& destination) {
    const auto plain = route_for(install, server, destination);
    if (install.method == Method::nginx) return add_nginx_routes(install, server, plain);
    auto at_client = plain;
    if (!install.selector.user.empty()) at_client.selector.users = {install.selector.user};
    if (!install.selector.cgroup.empty()) at_client.selector.cgroups = {install.selector.cgroup};
    if (!install.proxies.empty()) at_client.next = hop_to(install.proxies.front());
    add_to_client(install, server, std::move(at_client));
    for (std::size_t i = 0; i < install.proxies.size(); ++i) {
      const auto& proxy = install.proxies[i];
      auto route = plain;
      route.peers = {i == 0 ? install.from : install.proxies[i - 1]};
      if (i + 1 < install.proxies.size()) route.next = hop_to(install.proxies[i + 1]);
      if (i > 0) {
        const auto key = input_.public_keys.find(install.proxies[i - 1]);
        if (key != input_.public_keys.end()) route.peer_keys.insert(*key);
      }
      for (const auto& placed : install.chain) {
        if (placed.proxy == proxy) route.chain.push_back(link(out_[proxy], placed.function));
      }
      out_[proxy].routes.routes.push_back(std::move(route));
    }
  }

  /// By which programs of other domains ask for it.
  std::optional<IpAddress> alias_of(const planner::Install& install, const Node& server) const {
    const auto found = input_.names.find(server.hostname);
    return found != input_.names.end() && goes_by_name(install, input_.resources) ? found->second : std::nullopt;
  }

  /// The name means one address alone: the alias, in place of the node's first IPv4 address.
  void add_to_client(const planner::Install& install, const Node& server, Route route) {
    auto& tables = out_[install.from].routes;
    if (const auto alias = alias_of(install, server)) {
      if (route.destination.block.address == *std::ranges::find_if(server.addresses, &IpAddress::is_v4)) {
        tables.refusals.push_back({route.destination, route.flow, install.to + " is asked for by its name, " + server.hostname});
        route.destination.block = {*alias, 32};
        aliases_in_use_[install.from][server.hostname] = *alias;
      } else {
        route.name.clear();
      }
    }
    tables.routes.push_back(std::move(route));
  }

  /// The planner gives NGINX one proxy, no chain and no selector, and the judgement has looked at all addresses.
  void add_nginx_routes(const planner::Install& install, const Node& server, const Route& plain) {
    const auto& proxy = install.proxies.front();
    const bool six = plain.destination.block.address.is_v6();
    const auto of_family = [six](const IpAddress& address) { return address.is_v6() == six; };
    const auto& listens = input_.resources.proxies.at(proxy).addresses;
    const auto listen = std::ranges::find_if(listens, of_family);
    const auto port = ports_.take(proxy, plain.id);
    if (!port) return add_refusals(install, plain.destination, "all ports for NGINX at " + proxy + " are taken");
    auto route = plain;
    route.nginx = NginxPort{{*listen, *port}, {}, find_flow(input_.resources, install)->profile == Profile::http};
    std::ranges::copy_if(input_.resources.nodes.at(install.from).addresses, std::back_inserter(route.nginx->clients), of_family);
    add_to_client(install, server, route);
    route.peers = {install.from};
    out_[proxy].routes.routes.push_back(std::move(route));
  }

  ChainLink link(Assignment& at, const std::string& name) const {
    const auto& function = input_.resources.functions.at(name);
    const WishedInstance wished{instance_name(name), name, function.image, function.trust == Trust::platform};
    if (std::ranges::find(at.instances, wished) == at.instances.end()) at.instances.push_back(wished);
    ChainLink link;
    link.function = name;
    link.instance = wished.name;
    link.socket = unknown_socket;
    link.trusted = wished.trusted;
    link.key_pair = pair_label(input_.resources, function);
    link.parameters = function.parameters;
    return link;
  }

  void add_refusals(const planner::Install& install, const CaptureTarget& destination, const std::string& reason) {
    const Refusal refusal{destination, install.application + "/" + install.flow, reason};
    out_[install.from].routes.refusals.push_back(refusal);
    for (const auto& proxy : install.proxies) out_[proxy].routes.refusals.push_back(refusal);
  }

  const InstallationInput& input_;
  PortBook ports_;
  std::map<std::string, std::map<std::string, IpAddress>> aliases_in_use_;  ///< client -> name -> alias
  std::map<std::string, Assignment> out_;
};

}  // namespace

std::map<std::string, Assignment> install(const InstallationInput& input) {
  Tables tables(input);
  for (const auto& one : input.plan.installs) tables.add(one);
  tables.refuse_the_rest();
  return tables.finish();
}

std::string flow_id(std::string_view application, std::string_view flow, std::string_view destination) {
  return sha256(fmt::format("{}\n{}\n{}", application, flow, destination)).substr(0, 32);
}

std::string instance_name(std::string_view function) {
  std::string out(function);
  std::ranges::replace(out, '.', '-');
  if (out == function && out.size() <= 48) return out;
  return out.substr(0, std::min<std::size_t>(out.size(), 39)) + "-" + sha256(function).substr(0, 8);
}

std::string content_of(const Assignment& assignment, std::string_view application) {
  RouteTable part;
  std::vector<std::string> instances;
  for (const auto& route : assignment.routes.routes) {
    if (!route.flow.starts_with(std::string(application) + "/")) continue;
    part.routes.push_back(route);
    part.routes.back().expires = {};
    for (const auto& link : route.chain) instances.push_back(link.instance);
  }
  if (part.routes.empty()) return {};
  auto text = print_routes(part);
  for (const auto& wished : assignment.instances) {
    if (std::ranges::find(instances, wished.name) == instances.end()) continue;
    text += fmt::format("{} {} {}\n", wished.name, wished.image, wished.trusted);
  }
  return sha256(text).substr(0, 16);
}

std::set<std::string> participants(const planner::Install& install) {
  if (is_local(install)) return {};
  std::set<std::string> out{install.from};
  out.insert(install.proxies.begin(), install.proxies.end());
  return out;
}

bool is_local(const planner::Install& install) {
  return install.proxies.empty() && domain_of(install.from) == domain_of(install.to);
}

std::string domain_of(std::string_view identity) { return std::string(identity.substr(0, identity.find('/'))); }

}  // namespace epif::orchestrator
