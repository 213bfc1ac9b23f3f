#include "redirect/reply_sockets.h"

#include "base/limits.h"
#include "net/udp.h"

namespace epif::redirect {

bool ReplySockets::send(const SocketAddress& from, const SocketAddress& to, ByteSpan payload) {
  auto found = sockets_.find(from);
  if (found == sockets_.end()) {
    // Not connected: a connected one would take the program's next datagrams away from the capture's socket.
    auto socket = net::udp_socket(from, {.mark = mark_, .transparent = true, .reuse_address = true});
    if (!socket) return false;
    if (sockets_.size() >= limits::datagram_reply_sockets) {
      sockets_.erase(by_use_.back());
      by_use_.pop_back();
    }
    by_use_.push_front(from);
    found = sockets_.emplace(from, Place{std::move(*socket), by_use_.begin()}).first;
  } else {
    by_use_.splice(by_use_.begin(), by_use_, found->second.used);
  }
  return net::send_datagram(found->second.socket.get(), payload, to);
}

}  // namespace epif::redirect
