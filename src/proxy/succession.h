#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/handover.h"
#include "proxy/listening.h"
#include "proxy/moved_flow.h"

namespace epif::proxy {

class Team;

/// A proxy's two hand-overs: from its predecessor, and to its successor. On the control thread.
class Succession {
 public:
  explicit Succession(net::Loop& loop) : loop_(loop) {}
  ~Succession();
  Succession(const Succession&) = delete;
  Succession& operator=(const Succession&) = delete;

  // From a predecessor.
  /// Takes the sockets on which the proxy at `path` listens. Errors: as net::take_over; protocol.
  [[nodiscard]] Result<std::vector<Listening>> inherit(const std::string& path);
  /// Tells it that this process serves, by these routes; from here on its flows may come to `team`. Errors: conflict (it goes on).
  [[nodiscard]] Result<> serve(Team& team, const std::string& routes);
  /// True as long as it lives: more may come.
  [[nodiscard]] bool has_predecessor() const { return predecessor_ != nullptr; }
  /// Asks it to end soon, since this process is to.
  void dismiss_predecessor();

  // To a successor.
  struct Calls {
    std::function<void(std::string_view routes)> serving;  ///< it serves: accept no more
    std::function<void()> abandoned;                       ///< it went away before
    std::function<void()> dismissed;                       ///< it was asked to stop, and asks the same of this process
    std::function<void()> gone;                            ///< it is no more: nothing can be given to it
  };
  /// Whoever asks at `listener` gets copies of these sockets.
  void offer(Fd listener, const std::string& path, std::vector<Listening> sockets, Calls calls);
  /// Offers nothing any more; a successor that serves is given flows still.
  void close();
  void give(MovedFlows moved);
  /// Something is on its way to the successor.
  [[nodiscard]] bool giving() const { return giving_; }

 private:
  static net::Task<void> give_all(Succession& self);
  static net::Task<void> take_flows(Succession& self, std::shared_ptr<net::SeqPacket> predecessor, Team& team);

  net::Loop& loop_;
  std::shared_ptr<net::SeqPacket> predecessor_;
  std::unique_ptr<net::Handover> handover_;
  std::deque<MovedFlows> departing_;
  bool giving_ = false;
};

}  // namespace epif::proxy
