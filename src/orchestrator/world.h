#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/assignment.h"
#include "model/resource.h"
#include "store/store.h"

namespace epif::orchestrator {

/// Spec of EnvironmentRequest: an application orchestrator (ours or another, such as vantage6) asks for connected domains.
struct EnvironmentRequest {
  std::string application;  ///< source document of the Application, JSON
  bool stop = false;        ///< take everything down, and say when that is done
  std::uint64_t order = 0;  ///< store revision at its first submission: who came first wins a conflict
  friend bool operator==(const EnvironmentRequest&, const EnvironmentRequest&) = default;
};
[[nodiscard]] std::string print(const EnvironmentRequest& request);
[[nodiscard]] Result<EnvironmentRequest> parse_environment(std::string_view json);

/// The store at one revision, read into types.
struct World {
  store::Revision revision = 0;
  ResourceSet resources;  ///< without Applications: those come by way of environments
  std::map<std::string, store::Record> applications;
  std::map<std::string, store::Record> environments;
  std::map<std::string, store::Record> access;       ///< AccessRequest
  std::map<std::string, store::Record> nodes;        ///< NodeRequest
  std::map<std::string, store::Record> assignments;
  std::string policy_version;  ///< fingerprint of all policies
};

/// Errors: the store's; a record of a user's kind that does not parse (the API lets none in).
[[nodiscard]] Result<World> read_world(store::Store& store);

}  // namespace epif::orchestrator
