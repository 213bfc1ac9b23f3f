#pragma once
#include "functions/transform.h"

namespace epif::functions {

/// Passes everything: the cost of a chain without the work of a function. Reads no parameters.
[[nodiscard]] Result<std::unique_ptr<Transform>> open_passthrough(const bridge::Open& open);

}  // namespace epif::functions
