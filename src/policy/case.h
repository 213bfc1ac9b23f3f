#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/authorize.h"

namespace epif::policy {

/// One request of a case file in the form of the public Cedar integration tests, with what is expected of it.
struct CaseRequest {
  std::string description;
  Request request;
  bool allow = false;
  std::vector<std::string> reason;  ///< sorted ids
  std::vector<std::string> errors;  ///< sorted ids
};

/// {"policies": PATH, "entities": PATH, "requests":
/// [{"principal","action","resource","context","decision","reason","errors"}]}. Schemas and validation are left alone: only
/// decisions are judged.
struct Case {
  std::string policies_path;
  std::string entities_path;
  std::vector<CaseRequest> requests;

  /// Whether the JSON text has the form of a case at all; entity files and schemas in the same folder have not.
  [[nodiscard]] static bool looks_like(std::string_view json);
  [[nodiscard]] static Result<Case> parse(std::string_view json, std::string_view name);
};

/// What the decision differs in, in words; empty when decision, reason and errors are as expected.
[[nodiscard]] std::string difference(const CaseRequest& expected, const Decision& decision);

}  // namespace epif::policy
