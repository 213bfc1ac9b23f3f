#pragma once
#include <cstdint>

#include "base/error.h"
#include "base/fd.h"

/// One redirector a port and network namespace. The claim is an abstract Unix socket: it belongs to the namespace, and the
/// kernel frees it when the process dies, however it dies.
namespace epif::redirect {

/// Holds as long as the descriptor is open. Errors: address_in_use (another redirector runs there), io.
[[nodiscard]] Result<Fd> claim(std::uint16_t listen_port);

/// After a hand-over of the claim: from here on stop_running() finds this process. Errors: io.
[[nodiscard]] Result<> renew_claim(const Fd& claim);

/// Shows that this process has handed over and still carries flows: stop_draining() finds it as long as the descriptor is open.
/// Errors: io.
[[nodiscard]] Result<Fd> claim_draining(std::uint16_t listen_port);

/// Asks the redirector that holds the claim to stop (SIGTERM) and waits until it is gone, and with it a successor that has the
/// claim in hand; false if none runs. Errors: permission, timeout.
[[nodiscard]] Result<bool> stop_running(std::uint16_t listen_port);

/// Ends all processes that drain, whoever serves after them, and waits until they are gone: SIGTERM, and SIGKILL for what has
/// not ended after limits::drain_deadline_ms. Before the rules are removed: a reset that leaves after them is not translated
/// back, and the program never hears of it. Errors: permission, timeout (one cannot even be killed).
[[nodiscard]] Result<> stop_draining(std::uint16_t listen_port);

}  // namespace epif::redirect
