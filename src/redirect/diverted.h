#pragma once
#include <vector>

#include "base/error.h"
#include "redirect/capture.h"

namespace epif::redirect {

/// Ends the connections that the kernel sent to NGINX and that the rules do not send there any more. Address translation is
/// kept for each connection, so new rules alone would change nothing for those that stand. Their programs get an error;
/// NGINX hears nothing, since the proxy's end is cut there, with an error to the server.
///
/// `all_unknown`: rules of an earlier redirector were in force, so whatever was translated on its way to a target and is not
/// one of `rules.diversions` is meant; else only what went to `rules.retired`. Errors: those of net::tracked_tcp.
[[nodiscard]] Result<> end_undiverted(const CaptureRules& rules, bool all_unknown);

}  // namespace epif::redirect
