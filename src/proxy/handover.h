#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/tcp.h"
#include "net/unix_socket.h"
#include "proxy/listening.h"

/// Restart without loss: a new process takes the listening sockets themselves over a Unix socket, and says when it serves. Only
/// then the old one accepts no more, and drains. No connection meets a moment in which nobody listens; if the new process
/// dies before, the old one has not noticed.
namespace epif::proxy {

/// Where a proxy with this admin socket hands over.
[[nodiscard]] std::string handover_path(const std::string& admin_path);

/// The old process's side, on its control loop.
class Handover {
 public:
  using OnReady = std::function<void()>;
  /// `listener` is bound to `path`, which the end removes.
  Handover(net::Loop& loop, Fd listener, std::string path, std::vector<Listening> sockets, OnReady on_ready);
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

 private:
  struct State;
  static net::Task<void> serve(std::shared_ptr<State> state, Fd connection);
  std::shared_ptr<State> state_;
};

/// What the new process holds between taking the sockets and serving.
struct Inheritance {
  std::vector<Listening> sockets;
  std::unique_ptr<net::SeqPacket> predecessor;
};

/// The new process's side, before it serves; runs `loop` meanwhile. Errors: not_found (no proxy offers a hand-over there),
/// protocol, permission (it belongs to another user), timeout.
[[nodiscard]] Result<Inheritance> take_over(net::Loop& loop, const std::string& path);
/// Tells the predecessor that it may stop accepting.
void announce(net::SeqPacket& predecessor);

}  // namespace epif::proxy
