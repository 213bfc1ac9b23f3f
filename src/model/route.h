#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"

/// The data plane's declarative file, routes.json: what a redirector or proxy does with a flow (architecture.md rule 5).
/// The agent writes it, atomically; the redirector and the proxy watch it. Schema: docs/routes.schema.json.
namespace epif {

/// A participant's certificate identity, "domain/node" (URI SAN "epif://domain/node").
using Identity = std::string;

/// The direction in which data moves, whoever opened the connection: push is client to server.
enum class DataDirection { push, pull, both };

/// What a flow's packets are. A TCP route never lets a datagram through, nor a UDP route a connection.
enum class Protocol { tcp, udp };
[[nodiscard]] std::string_view name(Protocol protocol);  ///< "tcp", "udp"

/// One bridging function of an installed chain, as the proxy reaches it.
struct ChainLink {
  std::string function;   ///< BridgingFunction name
  std::string instance;   ///< name of the running container, for messages
  std::string socket;     ///< path of its Unix seqpacket socket (EPIF_BF_SOCKET seen from the host)
  std::int64_t peer_pid = 0;  ///< process that must own the socket's other end; 0 = not checked (standalone, tests)
  bool trusted = false;   ///< `trust: platform`: may get TCP sockets themselves on legs in clear
  std::string key_pair;   ///< for halves of a pair (encrypt/decrypt): the pair's label; both halves share one key per connection
  std::map<std::string, std::string> parameters;
  friend bool operator==(const ChainLink&, const ChainLink&) = default;
};

/// How SOCKS6 is written: as the draft has it, or as the EPI project's own proxies (socksx) do.
enum class Dialect { draft, socksx };

/// Where a flow goes after this hop. Without `proxy`: directly to the destination.
struct NextHop {
  SocketAddress proxy;
  Identity identity;                 ///< certificate identity that the proxy must show; empty: leg in clear
  std::string public_key;            ///< X25519, base64, for key encapsulation (architecture.md rule 7); may be empty
  Dialect dialect = Dialect::draft;  ///< socksx: a proxy of the EPI project, which knows no flow ids
  friend bool operator==(const NextHop&, const NextHop&) = default;
};

/// Limits of one flow; zero means the default of base/limits.h.
struct RouteLimits {
  std::uint64_t reverse_bytes = 0;   ///< bytes that the direction without data may carry; counted only if data != both
  std::uint32_t connections = 0;
  std::uint32_t idle_s = 0;
  friend bool operator==(const RouteLimits&, const RouteLimits&) = default;
};

/// Which programs of the node a route is for. An empty list means all; both lists must fit. Users: name or number; cgroups: path
/// below /sys/fs/cgroup, with all that lies under it.
struct RouteSelector {
  std::vector<std::string> users;
  std::vector<std::string> cgroups;
  [[nodiscard]] bool empty() const { return users.empty() && cgroups.empty(); }
  friend bool operator==(const RouteSelector&, const RouteSelector&) = default;
};

/// A flow that a real NGINX carries (docs/nginx-method.md): the client's kernel sends its connections to `listen` in clear, where
/// NGINX lets `clients` in and connects to the destination.
struct NginxPort {
  SocketAddress listen;            ///< at the proxy; one for each pair of nodes and server port
  std::vector<IpAddress> clients;  ///< the client node's addresses, of the family of `listen`
  bool http = false;               ///< request by request; else bytes as they come
  friend bool operator==(const NginxPort&, const NginxPort&) = default;
};

struct Route {
  std::string id;                    ///< flow id on the wire: opaque, 1..64 bytes of [A-Za-z0-9._/-]
  std::string flow;                  ///< "application/flow", for people
  std::vector<Identity> peers;       ///< certificate identities of the hop before; any of them
  std::map<Identity, std::string> peer_keys;  ///< X25519 public keys (base64) of those peers that encapsulate keys for us
  std::vector<Cidr> sources;         ///< standalone use without certificates; empty with empty peers: nobody
  CaptureTarget destination;         ///< addresses and ports of the server
  Protocol protocol = Protocol::tcp; ///< udp: the chain is empty, bridging functions carry byte streams only
  RouteSelector selector;            ///< at the client only: a redirector holds to it
  std::string name;                  ///< if set, the server's host name: matches requests by this name, too
  DataDirection data = DataDirection::both;
  std::vector<ChainLink> chain;      ///< this proxy's part, nearest to the client first
  std::optional<NextHop> next;
  std::optional<NginxPort> nginx;    ///< TCP to one address and port, no chain, no next, no selector; no SOCKS hop carries it
  std::string purpose;
  std::string policy;                ///< id of the deciding policy
  std::string policy_version;
  RouteLimits limits;
  std::chrono::sys_seconds expires{};  ///< zero: never (standalone files only)
  bool replay_safe = false;          ///< data in a SYN allowed
  bool bind = false;                 ///< BIND allowed: hosts of `destination` may connect to a port that the client asks for
  std::uint32_t preconnect = 0;      ///< connections kept ready; only where the destination is one address and one port
  std::string blocked;               ///< not empty: refuse with this reason (a BF is being replaced, consent revoked ...)
  friend bool operator==(const Route&, const Route&) = default;
};

/// A refusal that the control plane knows a reason for: what was asked and why not. Only explains; absence denies as well.
struct Refusal {
  CaptureTarget destination;
  std::string flow;
  std::string reason;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

/// One node's table. Equal content compares equal, so that an unchanged reload cuts nothing.
struct RouteTable {
  std::string node;                  ///< whose table: "domain/node"; empty in standalone use
  std::uint64_t generation = 0;      ///< grows with each write
  std::vector<Route> routes;
  std::vector<Refusal> refusals;
  friend bool operator==(const RouteTable&, const RouteTable&) = default;
};

/// Reads routes.json. Unknown fields, wrong types, duplicate ids, a chain longer than the limit, and any chain on UDP are errors that name
/// line and column (of syntax) or the path "routes[3].destination" (of content). `file` is used in messages only.
[[nodiscard]] Result<RouteTable> parse_routes(std::string_view json, std::string_view file = "routes.json");
/// The inverse; stable: fields in schema order, two-space indent, newline at the end.
[[nodiscard]] std::string print_routes(const RouteTable& table);

}  // namespace epif
