#pragma once
#include <list>
#include <map>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/ip.h"

namespace epif::redirect {

/// Sends datagrams in the name of addresses that the redirector took over: one transparent socket for each, the least used
/// closed when there are too many. On one thread.
class ReplySockets {
 public:
  /// `mark`: of the datagrams.
  explicit ReplySockets(std::uint32_t mark) : mark_(mark) {}
  /// False if it could not be sent: no descriptor, or a program of this node holds the address.
  bool send(const SocketAddress& from, const SocketAddress& to, ByteSpan payload);

 private:
  struct Place {
    Fd socket;
    std::list<SocketAddress>::iterator used;
  };
  std::uint32_t mark_;
  std::map<SocketAddress, Place> sockets_;
  std::list<SocketAddress> by_use_;  ///< the latest in front
};

}  // namespace epif::redirect
