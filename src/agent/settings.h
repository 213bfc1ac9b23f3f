#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/infrastructure.h"

namespace epif::agent {

/// What the domain itself says on its own machine; it may only tighten what the orchestrator says.
struct LocalRules {
  std::optional<std::vector<AuthoriserRule>> allow;  ///< absent: adds nothing to the Domain's rules
  std::vector<AuthoriserRule> deny;                  ///< any match refuses; an entry without lists refuses everything
  std::vector<std::string> withheld;                 ///< nodes that the provisioner does not give, "domain/node"
  friend bool operator==(const LocalRules&, const LocalRules&) = default;
};

struct Settings {
  std::string orchestrator;  ///< https://host:port
  std::string token;         ///< join token; a secret. Needed once
  std::string node;          ///< "domain/node"; empty: as it joined
  std::string state;         ///< folder that holds everything the agent writes
  std::string engine;        ///< Unix socket of a container engine; empty: the system's, else one of the agent's own
  bool mptcp = false;        ///< redirector or proxy speaks MPTCP
  bool rejoin = false;       ///< the orchestrator or its store may be another one than this folder knows
  std::string program;       ///< the epif binary, for redirector and proxy
  LocalRules rules;
};

/// YAML (or JSON): {orchestrator, tokenFile, node, state, engine, mptcp: true or false, authoriser: {allow: [...], deny: [...]},
/// provisioner: {withhold: [domain/node]}}; rules as in Domain.spec.authoriser. Unknown fields are errors. Every error names
/// file and line. `token` is read from tokenFile.
[[nodiscard]] Result<Settings> read_settings(const std::string& path);

}  // namespace epif::agent
