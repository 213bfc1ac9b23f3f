#pragma once
#include "functions/transform.h"

namespace epif::functions {

/// Counts and hashes each direction and changes nothing. The report's detail holds sha256_to_server, sha256_to_client (hex,
/// over the whole direction) and ended_to_server, ended_to_client ("yes" after a proper end). Reads no parameters.
[[nodiscard]] Result<std::unique_ptr<Transform>> open_audit(const bridge::Open& open);

}  // namespace epif::functions
