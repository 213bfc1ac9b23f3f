#pragma once
#include <string>

#include "base/error.h"

namespace epif::redirect {

/// For a node whose redirector must not run: its capture rules in this network namespace go on without diversions, and
/// connections that the kernel carries to NGINX end with an error. What is captured stays captured, and is refused. Writes no
/// file, so a full disk does not stop it. `state`: that of the redirector; those with other folders are no hindrance. Without
/// rules it does nothing. Errors: address_in_use (it runs), those of InstalledCapture::shut().
[[nodiscard]] Result<> shut(const std::string& state);

}  // namespace epif::redirect
