#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "model/metadata.h"

/// Who may let data move: policies and people's consent.
namespace epif {

struct Policy {
  Metadata metadata;
  std::string language = "cedar";  ///< the only one
  std::string text;
  Origin
      text_origin;  ///< where the text begins in its document, so that line L of a policy is line L - 1 + text_origin.line
  friend bool operator==(const Policy&, const Policy&) = default;
};

struct Consent {
  Metadata metadata;
  std::string subject;                              ///< pseudonym of the person
  std::vector<std::string> flows;                   ///< "application/flow"; empty: none
  std::vector<std::string> purposes;                ///< empty: none
  std::optional<std::chrono::sys_seconds> expires;  ///< from this second on it is void; absent: until revoked
  friend bool operator==(const Consent&, const Consent&) = default;
};

}  // namespace epif
