#include "observe/draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "model/document.h"

namespace epif::observe {
namespace {

constexpr std::size_t name_most = 63;
constexpr std::string_view own_domain = "here";
constexpr std::string_view other_domain = "there";

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

/// Names of one kind, each once.
class Names {
 public:
  std::string take(std::string_view wanted) {
    auto name = resource_name(wanted);
    for (int number = 2; !taken_.insert(name).second; ++number) {
      const auto suffix = fmt::format("-{}", number);
      name = resource_name(std::string(wanted.substr(0, name_most - suffix.size())) + suffix);
    }
    return name;
  }

 private:
  std::set<std::string> taken_;
};

/// Peers with one name are one machine; those without are one each.
struct Peers {
  std::vector<Node> nodes;
  std::map<IpAddress, std::string> full_name;
};

Peers peers_of(const Record& record, const Observer& observer) {
  Peers peers;
  Names names;
  std::map<std::string, std::size_t> by_host;
  for (const auto& [key, seen] : record.flows()) {
    if (peers.full_name.contains(key.peer) || std::ranges::find(observer.addresses, key.peer) != observer.addresses.end()) continue;
    const auto host = record.name_of(key.peer);
    auto at = host.empty() ? by_host.end() : by_host.find(host);
    if (at == by_host.end()) {
      Node node;
      node.metadata.name = names.take(host.empty() ? key.peer.text() : host);
      node.metadata.domain = other_domain;
      node.hostname = host;
      peers.nodes.push_back(std::move(node));
      at = by_host.insert_or_assign(host.empty() ? key.peer.text() : host, peers.nodes.size() - 1).first;
    }
    auto& node = peers.nodes[at->second];
    node.addresses.push_back(key.peer);
    peers.full_name[key.peer] = node.metadata.full_name();
  }
  return peers;
}

/// A service of one machine, whichever of its addresses was asked.
struct Service {
  bool outgoing = true;
  std::string peer;  ///< full name
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  friend auto operator<=>(const Service&, const Service&) = default;
};

std::map<Service, FlowSeen> services_of(const Record& record, const Peers& peers) {
  std::map<Service, FlowSeen> services;
  for (const auto& [key, seen] : record.flows()) {
    const auto peer = peers.full_name.find(key.peer);
    if (peer == peers.full_name.end()) continue;
    auto& sum = services[{key.outgoing, peer->second, key.port, key.protocol}];
    sum.connections += seen.connections;
    sum.older += seen.older;
    sum.refused += seen.refused;
    sum.to_server_bytes += seen.to_server_bytes;
    sum.to_client_bytes += seen.to_client_bytes;
    sum.programs.insert(seen.programs.begin(), seen.programs.end());
  }
  return services;
}

std::string programs_text(const FlowSeen& seen) {
  std::vector<std::string> words;
  for (const auto& program : seen.programs) {
    words.push_back(fmt::format("{} (user {})", program.name.empty() ? "a program that was gone" : program.name, program.user));
  }
  return words.empty() ? "its program was not found" : fmt::format("{}", fmt::join(words, ", "));
}

/// Comments hold names of programs, which anybody may choose.
std::string one_line(std::string text) {
  for (auto& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return text;
}

}  // namespace

std::string resource_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, name_most)) name += is_alphanumeric(c) || c == '.' || c == '_' || c == '-' ? c : '-';
  while (!name.empty() && !is_alphanumeric(name.front())) name.erase(name.begin());
  while (!name.empty() && !is_alphanumeric(name.back())) name.pop_back();
  return name.empty() ? "unnamed" : name;
}

DataDirection direction_of(const FlowSeen& seen) {
  constexpr std::uint64_t clear_bytes = 64 * 1024;
  constexpr std::uint64_t clear_factor = 20;
  const auto clear = [](std::uint64_t more, std::uint64_t less) { return more >= clear_bytes && more / clear_factor >= less; };
  if (clear(seen.to_server_bytes, seen.to_client_bytes)) return DataDirection::push;
  if (clear(seen.to_client_bytes, seen.to_server_bytes)) return DataDirection::pull;
  return DataDirection::both;
}

std::string draft(const Record& record, const Observer& observer) {
  auto peers = peers_of(record, observer);
  Node self;
  self.metadata.name = resource_name(observer.host);
  self.metadata.domain = own_domain;
  self.addresses = observer.addresses;
  Application application;
  application.metadata.name = resource_name("observed-" + self.metadata.name);
  application.purpose = "unknown";
  Names names;
  std::string evidence;
  for (const auto& [key, seen] : services_of(record, peers)) {
    if (key.protocol == Protocol::tcp && seen.refused == seen.connections) continue;
    Flow flow;
    const auto short_name = key.peer.substr(other_domain.size() + 1);
    flow.name = names.take(fmt::format("{}-{}-{}{}", key.outgoing ? "to" : "from", short_name.substr(0, 40), key.port,
                                       key.protocol == Protocol::udp ? "-udp" : ""));
    flow.from = key.outgoing ? self.metadata.full_name() : key.peer;
    flow.to = key.outgoing ? key.peer : self.metadata.full_name();
    flow.port = key.port;
    flow.protocol = key.protocol;
    flow.data = direction_of(seen);
    fmt::format_to(std::back_inserter(evidence), "# {}: {} {}{}, {} bytes to the server, {} to the client; {}\n", flow.name, seen.connections,
                   key.protocol == Protocol::tcp ? "connections" : "exchanges",
                   seen.older == 0 ? std::string() : fmt::format(" ({} began before, or unseen)", seen.older), seen.to_server_bytes,
                   seen.to_client_bytes, one_line(programs_text(seen)));
    application.flows.push_back(std::move(flow));
  }
  auto out = fmt::format(
      "# What {} talked to in {} s, as `epif redirect --observe` saw it. A draft: fill in attributes of each Node, the domains\n"
      "# (here: '{}' and '{}'), the purpose, and a selector where only one program is meant; then `epif plan -f` this file.\n",
      self.metadata.name, observer.seconds, own_domain, other_domain);
  out +=
      "# Not seen: what goes over loopback or is forwarded for others, TCP that began and ended before, protocols other than TCP and UDP,\n"
      "# fragments, and names of DNS over TLS or HTTPS or in answers over TCP that span several segments.\n";
  if (!observer.blind.empty()) out += fmt::format("# Connections older than the observation are missing, too: {}\n", one_line(observer.blind));
  if (observer.packets_lost != 0) out += fmt::format("# {} packets came too fast to be looked at: something may be missing.\n", observer.packets_lost);
  if (record.left_out() != 0) out += fmt::format("# {} connections to further services are left out.\n", record.left_out());
  out += to_yaml(self);
  for (const auto& node : peers.nodes) out += "---\n" + to_yaml(node);
  if (application.flows.empty()) return out + "# No flow was seen.\n";
  return out + "---\n" + evidence + to_yaml(application);
}

}  // namespace epif::observe
