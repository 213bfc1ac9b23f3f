#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "bridge/chain_move.h"
#include "bridge/message.h"
#include "model/route.h"
#include "net/loop.h"
#include "net/task.h"
#include "net/unix_socket.h"

namespace epif::bridge {

/// What a control connection tells one of its connections. Calls come on the loop's thread, and may remove the listener.
class ControlListener {
 public:
  virtual ~ControlListener() = default;
  virtual void on_message(FromFunction message) = 0;
  /// The BF is gone or broke its contract: nothing more will come.
  virtual void on_failure(const Error& why) = 0;
};

/// One control connection to one BF instance, shared by all flows of a loop thread (docs/bf-contract.md). It holds the BF to
/// its contract: bounded messages, no descriptors, known connections only; a breach fails it with Code::bf_failed.
class Control : public std::enable_shared_from_this<Control> {
 public:
  /// Connects without following a link and checks who listens. Errors: bf_failed, with the reason.
  [[nodiscard]] static Result<std::shared_ptr<Control>> connect(net::Loop& loop, const ChainLink& link);

  /// Gives `listener` a connection number; it must remove() itself before it dies.
  [[nodiscard]] std::uint64_t add(ControlListener& listener);
  void remove(std::uint64_t conn);
  /// Queues a message. Copies of `descriptors` go with it. A BF that does not read fails the connection.
  void send(const ToFunction& message, std::span<const int> descriptors = {});
  /// Ends the connection and tells all listeners. The first reason stays.
  void fail(Error why);
  [[nodiscard]] bool alive() const { return !failure_; }

  // To another process, and from one: chain_move.h. It carries nothing for anyone when it leaves.
  [[nodiscard]] bool may_leave() const { return alive() && outbox_.empty() && !draining_; }
  [[nodiscard]] std::size_t connections() const { return listeners_.size(); }
  [[nodiscard]] std::optional<MovedControl> copy_to_move() const;  ///< nothing: descriptors are short
  void outlive_connections() { ends_with_last_ = false; }
  void leave();
  [[nodiscard]] static std::shared_ptr<Control> arrived(net::Loop& loop, MovedControl moved);
  [[nodiscard]] bool expects(std::uint64_t conn) const { return alive() && conn != 0 && conn < next_conn_ && !listeners_.contains(conn); }
  void take_up(std::uint64_t conn, ControlListener& listener) { listeners_[conn] = &listener; }
  void hear();  ///< one that nobody was added to ends

 private:
  Control(net::Loop& loop, std::unique_ptr<net::SeqPacket> socket, std::string instance)
      : loop_(loop), socket_(std::move(socket)), instance_(std::move(instance)) {}
  [[nodiscard]] static net::Task<> receive(std::shared_ptr<Control> self);
  [[nodiscard]] static net::Task<> drain(std::shared_ptr<Control> self);
  [[nodiscard]] Result<> take(net::SeqPacket::Message message);

  struct Waiting {
    Bytes bytes;
    std::vector<Fd> descriptors;
  };
  net::Loop& loop_;
  std::unique_ptr<net::SeqPacket> socket_;
  std::string instance_;
  std::unordered_map<std::uint64_t, ControlListener*> listeners_;
  std::deque<Waiting> outbox_;
  bool draining_ = false;
  bool ends_with_last_ = false;  ///< nothing new is opened on it: it came from another process
  std::uint64_t next_conn_ = 1;
  std::uint64_t received_ = 0;
  std::optional<Error> failure_;
};

}  // namespace epif::bridge
