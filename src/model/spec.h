#pragma once
#include "model/fields.h"
#include "model/resource.h"

/// The `spec` of each kind, read from one document. Faults stay in the field's Reading; the value is then of no use.
namespace epif {

[[nodiscard]] std::string read_name(const Field& field);       ///< the alphabet of Metadata
[[nodiscard]] std::string read_full_name(const Field& field);  ///< "domain/name"

[[nodiscard]] Domain read_domain(const Field& spec);
[[nodiscard]] Attributes read_attributes(const Field& spec);
[[nodiscard]] BridgingFunction read_function(const Field& spec);
[[nodiscard]] ProxyNode read_proxy(const Field& spec);
[[nodiscard]] Node read_node(const Field& spec);
[[nodiscard]] Policy read_policy(const Field& spec);
[[nodiscard]] Consent read_consent(const Field& spec);
[[nodiscard]] Application read_application(const Field& spec);

}  // namespace epif
