#pragma once
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/handover.h"
#include "proxy/listening.h"
#include "proxy/moved_flow.h"
#include "proxy/moved_state.h"

namespace epif::proxy {

struct Shared;
class Team;

/// A proxy's two hand-overs: from its predecessor, and to its successor. On the control thread.
///
/// With the listening sockets goes what clients share: their sessions, and what each of them holds against the limits by source and by
/// route. It is told once no thread of the old process accepts any more and before one of the new process does, and changes are told
/// as long as both live. A session that ends in one of them ends in the other. Datagrams at the UDP port find their associations in
/// the old process by a channel for each thread.
class Succession {
 public:
  Succession(net::Loop& loop, Shared& shared);
  ~Succession();
  Succession(const Succession&) = delete;
  Succession& operator=(const Succession&) = delete;

  // From a predecessor.
  /// Takes the sockets on which the proxy at `path` listens. Errors: as net::take_over; protocol.
  [[nodiscard]] Result<std::vector<Listening>> inherit(const std::string& path);
  /// Tells it that this process serves, by these routes, and waits until it has told its state; from here on its flows may come to `team`,
  /// whose threads need not run yet. Errors: conflict (it goes on).
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
  void offer(Fd listener, const std::string& path, std::vector<Listening> sockets, Team& team, Calls calls);
  /// Offers nothing any more; a successor that serves is given flows still.
  void close();
  void give(MovedFlows moved);
  /// Something is on its way to the successor, or it is about to ask for it.
  [[nodiscard]] bool giving() const;

 private:
  /// Messages that belong together, and what is held until they are told.
  struct Departing {
    std::vector<Parcel> parcels;
    std::vector<net::Limiter::Place> places;
  };
  void give(Departing departing);
  void give(const Told& told);
  static net::Task<void> give_all(Succession& self);
  static net::Task<void> follow(Succession& self, std::shared_ptr<net::SeqPacket> predecessor, Team& team);
  [[nodiscard]] Result<> take(net::SeqPacket::Message message, Unpacking& unpacking, Team& team);
  [[nodiscard]] Result<> take_told(Told told);
  [[nodiscard]] Result<> take_channel(std::string_view number, std::vector<Fd> descriptors, Team& team);
  void heard(std::string_view words);
  static net::Task<void> tell_state(Succession& self);
  void give_channels();
  void tell_changes();
  enum class Origin { here, predecessor, successor };
  void session_ended(const admission::SessionId& id, Origin origin);

  net::Loop& loop_;
  Shared& shared_;
  Team* team_ = nullptr;
  std::shared_ptr<net::SeqPacket> predecessor_;
  bool hears_ = false;  ///< the predecessor has begun to tell
  bool told_ = false;   ///< it has told its state
  std::unique_ptr<net::Handover> handover_;
  std::deque<Departing> departing_;
  bool giving_ = false;
  /// What the successor knows: it serves and may ask; the threads are asked for it; it is told, and hears of changes.
  enum class Telling { nothing, awaits, begins, changes };
  Telling telling_ = Telling::nothing;
  bool wants_channels_ = false;  ///< it passes datagrams on
  net::TimePoint asks_until_{};
  std::array<net::Limiter::Held, std::size(all_counted)> last_told_;
  net::Loop::Timer look_;
};

}  // namespace epif::proxy
