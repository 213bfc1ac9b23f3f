#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

/// The kinds that the API serves, all by one mechanism. The user's kinds are built in; whoever wires the program (the
/// orchestrator) registers its own before the server starts.
namespace epif::api {

/// Which resources of a kind an agent "domain/node" may touch.
enum class Reach {
  none,
  own_node,    ///< the resource named exactly "domain/node"
  own_domain,  ///< resources whose name begins with "domain/"
  any,
};

struct Kind {
  std::string name;               ///< "AccessRequest"
  std::string plural;             ///< path and command-line word: "accessrequests"
  bool in_domain = false;         ///< name is "domain/name" (metadata.domain and metadata.name), else one part
  bool users_write = true;        ///< false: only the orchestrator itself (in process) writes the spec; users may still read
  Reach agent_reads = Reach::none;
  Reach agent_writes_status = Reach::none;
  Reach agent_writes_spec = Reach::none;
  std::string schema{};           ///< JSON schema of the spec (text) for /openapi.json; empty: any object
  /// Further check of one spec (JSON text); the user's kinds are checked by src/model as a set besides.
  std::function<Result<>(std::string_view name, std::string_view spec)> check{};
};

class Kinds {
 public:
  /// Domain, Node, ProxyNode, BridgingFunction, Attributes, Policy, Consent, Application.
  [[nodiscard]] static Kinds of_users();
  void add(Kind kind);
  /// By name, plural, singular or lower case: "Node", "node", "nodes". Null if unknown.
  [[nodiscard]] const Kind* find(std::string_view word) const;
  [[nodiscard]] const std::vector<Kind>& all() const { return kinds_; }

 private:
  std::vector<Kind> kinds_;
};

}  // namespace epif::api
