#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "model/route.h"

/// What the orchestrator and the agents say to each other, as specs and statuses of four kinds that users only read:
/// EnvironmentRequest (step 2 of Fig. 1), AccessRequest (3), NodeRequest (4, 5) and Assignment (6). All of it is JSON;
/// print is the inverse of parse and stable, since the store compares text.
namespace epif {

inline constexpr std::string_view environment_request_kind = "EnvironmentRequest";  ///< named like its application
inline constexpr std::string_view access_request_kind = "AccessRequest";            ///< "domain/application"
inline constexpr std::string_view node_request_kind = "NodeRequest";                ///< "domain/application"
inline constexpr std::string_view assignment_kind = "Assignment";                   ///< "domain/node"

/// What an agent runs: the redirector on a node, proxy and bridging functions on a proxy node.
enum class Role { endpoint, proxy };

/// One bridging function that a proxy node shall run. Every chain on that proxy that names it shares it.
struct WishedInstance {
  std::string name;      ///< unique on its proxy, [a-z0-9-], at most 48 bytes; ChainLink::instance
  std::string function;  ///< BridgingFunction name
  std::string image;     ///< pinned by digest
  bool trusted = false;
  friend bool operator==(const WishedInstance&, const WishedInstance&) = default;
};

/// Stands in the links of an Assignment's routes where only the agent knows the socket's path.
inline constexpr std::string_view unknown_socket = "/";

/// An address of the orchestrator's alias range that this node's programs know as a name's, or may have cached.
struct ToldAlias {
  std::string name;
  IpAddress address;
  std::uint64_t freed = 0;           ///< first generation in which no route has it; 0: one has
  std::chrono::sys_seconds until{};  ///< freed: from then on it may be another name's; zero: that generation is not in place yet
  friend bool operator==(const ToldAlias&, const ToldAlias&) = default;
};

/// Spec of Assignment: all that one node's agent puts in place. The links in `routes` have `unknown_socket` and peer_pid 0;
/// the agent fills them in, and blocks a route while one of its instances does not run.
struct Assignment {
  std::string node;                ///< "domain/node"
  Role role = Role::endpoint;
  SocketAddress listen;            ///< proxy only: TLS listener
  std::string engine;              ///< proxy only: podman or docker
  RouteTable routes;               ///< generation 0: the agent counts
  std::vector<WishedInstance> instances;
  std::vector<ToldAlias> aliases;  ///< by name: the orchestrator's memory, no agent needs it
  friend bool operator==(const Assignment&, const Assignment&) = default;
};

/// Spec of the Assignment of a node that was removed: the proof for an agent that was away then. It stays until the node is
/// added again, or until no certificate of that time is valid any more. No parse_assignment() takes it for an Assignment.
struct Removal {
  std::string node;            ///< "domain/node"
  std::uint64_t revision = 0;  ///< of the store when it was removed: whatever was assigned before has a lower one
  std::chrono::sys_seconds at{};
  std::vector<ToldAlias> aliases{};  ///< as the Assignment had them: the machine's programs may have them cached when it is added again
};

/// One part that an agent runs, as it found it.
struct PartState {
  std::string name;    ///< instance name, or "redirect", "proxy"
  std::string state;   ///< "running", "starting" or "failed"
  std::int64_t pid = 0;
  std::string reason;  ///< why it does not run, or runs otherwise than it is to
  friend bool operator==(const PartState&, const PartState&) = default;
};

/// Status of Assignment.
struct AssignmentReport {
  std::uint64_t generation = 0;     ///< of the Assignment that is in place; 0: none yet
  std::string public_key;           ///< proxy only: X25519, base64
  std::vector<PartState> instances; ///< by name
  std::vector<PartState> processes; ///< by name
  std::vector<std::string> errors;  ///< what keeps this generation from being in place, for people
  std::string seen;                 ///< UTC, when the agent last said so
  friend bool operator==(const AssignmentReport&, const AssignmentReport&) = default;
};

/// One flow as a domain's authoriser and provisioner see it.
struct RequestedFlow {
  std::string name;
  std::string from;
  std::string to;
  std::uint16_t port = 0;
  std::string data;                 ///< push, pull or both
  std::vector<std::string> chain;   ///< functions, client's end first
  std::vector<std::string> proxies;
  friend bool operator==(const RequestedFlow&, const RequestedFlow&) = default;
};

/// Spec of AccessRequest and of NodeRequest: one application asks one domain.
struct DomainRequest {
  std::string application;
  std::string purpose;
  std::string domain;
  std::string answerer;              ///< the member of the domain that answers, "domain/node"
  std::vector<std::string> nodes;    ///< NodeRequest: nodes and proxy nodes of this domain, sorted
  std::vector<std::string> images;   ///< NodeRequest: what the answerer's engine will run, sorted; it must be there
  std::vector<RequestedFlow> flows;  ///< those that touch this domain
  friend bool operator==(const DomainRequest&, const DomainRequest&) = default;

  /// What an answer is about: changes with anything above.
  [[nodiscard]] std::string question() const;
};

/// Status of AccessRequest and of NodeRequest.
struct DomainAnswer {
  std::string question;  ///< DomainRequest::question() that it answers
  bool granted = false;
  std::string reason;
  std::string by;        ///< "domain/node"
  friend bool operator==(const DomainAnswer&, const DomainAnswer&) = default;
};

[[nodiscard]] std::string_view name(Role role);

[[nodiscard]] std::string print(const Assignment& assignment);
[[nodiscard]] std::string print(const Removal& removal);
[[nodiscard]] std::string print(const AssignmentReport& report);
[[nodiscard]] std::string print(const DomainRequest& request);
[[nodiscard]] std::string print(const DomainAnswer& answer);

/// Errors: invalid_input, naming the field.
[[nodiscard]] Result<Assignment> parse_assignment(std::string_view json);
/// The aliases of an Assignment or Removal of which nothing else may be readable: another version may write fields that this one refuses.
[[nodiscard]] std::vector<ToldAlias> parse_aliases(std::string_view json);
/// Nothing if the document is anything else.
[[nodiscard]] std::optional<Removal> parse_removal(std::string_view json);
[[nodiscard]] Result<AssignmentReport> parse_report(std::string_view json);
[[nodiscard]] Result<DomainRequest> parse_request(std::string_view json);
[[nodiscard]] Result<DomainAnswer> parse_answer(std::string_view json);

}  // namespace epif
