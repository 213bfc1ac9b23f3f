#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>

#include "observe/record.h"

namespace epif::observe {

/// A socket as the kernel knows it.
struct Holder {
  std::uint32_t user = 0;
  std::uint32_t inode = 0;  ///< of the socket; never 0
};
/// Who holds this node's socket at `local` towards `remote` (sock_diag); without `remote`, who listens there. Takes some 20
/// microseconds. Nothing if its program has closed it already.
[[nodiscard]] std::optional<Holder> holder_of(Protocol protocol, const SocketAddress& local, const std::optional<SocketAddress>& remote);

/// The command names of the processes with descriptors of these sockets, found in one walk over /proc, newest processes first.
[[nodiscard]] std::map<std::uint32_t, std::string> commands_with(std::set<std::uint32_t> inodes);
/// The name of a user of this node, or the number.
[[nodiscard]] std::string user_name(std::uint32_t user);

}  // namespace epif::observe
