#pragma once
#include <filesystem>

#include "functions/catalogue.h"

/// The inside of a BF: listens on its contract socket and runs a transform for every connection. One thread, epoll.
namespace epif::functions {

/// Serves on the seqpacket socket at `path` (made anew) until `stop_fd` becomes readable (an eventfd, a signalfd, a pipe);
/// pass -1 to serve for ever. Returns only then, or with the error that kept it from starting. Per direction at most
/// limits::relay_buffer_bytes wait for a slow reader. Connections of a proxy that goes away are closed.
[[nodiscard]] Result<> serve(const std::filesystem::path& path, const Factory& factory, int stop_fd = -1);

}  // namespace epif::functions
