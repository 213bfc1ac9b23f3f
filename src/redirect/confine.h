#pragma once

namespace epif::redirect {

/// From here on this process and all that it starts cannot open AF_XDP sockets, whose frames pass no netfilter hook and so no
/// guard, nor io_uring, which could open them unseen. For the time between fork and exec, as root: async-signal-safe. False with
/// errno if the kernel refuses.
[[nodiscard]] bool deny_unguarded_sockets();

}  // namespace epif::redirect
