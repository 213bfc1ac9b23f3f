#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "model/origin.h"

namespace epif {

/// What every resource carries. Names are 1..63 bytes of [A-Za-z0-9._-], beginning and ending with a letter or digit.
struct Metadata {
  std::string name;
  std::string domain;                         ///< Node and ProxyNode: required; other kinds: must be absent
  std::map<std::string, std::string> labels;  ///< free text of the user; means nothing to epif
  std::uint64_t version = 0;                  ///< the store's version for a conditional write; 0 = unconditional
  Origin origin;

  /// "domain/name" where there is a domain, else "name".
  [[nodiscard]] std::string full_name() const { return domain.empty() ? name : domain + "/" + name; }
  friend bool operator==(const Metadata&, const Metadata&) = default;
};

}  // namespace epif
