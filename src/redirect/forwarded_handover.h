#pragma once
#include <array>
#include <deque>
#include <string>
#include <string_view>

#include "net/handover.h"
#include "redirect/forwarded.h"

/// What hosts behind a gateway hold in a redirector that drains counts in its successor, too, as long as both live: otherwise each would
/// have its share twice. Told once no thread of the old process takes anything new and before one of the new process does; changes
/// are told after that. What all hold together stays apart: that is the descriptors of a process. On the control loop.
namespace epif::redirect {

/// A thing of the hand-over's list: who has it in hand tells, if it is asked.
inline constexpr std::string_view tells_limits_word = "tells-limits";
/// A successor says this (net::say) to one that tells. Unasked none tells: an earlier version would take any message for its end.
inline constexpr std::string_view ask_limits_words = "tell your limits";

/// Connections and questions. Associations of datagrams are not among them: a socket's next datagram makes one in the new process while
/// that of the old one only waits for its idle end, so who was within the limit before would be shut out by itself.
inline constexpr std::size_t forwarded_limiters = 2;

/// The old process's side. Tells the hand-over's successor, which need not read in time: what does not fit waits.
class ForwardedTelling {
 public:
  ForwardedTelling(net::Loop& loop, Forwarded& forwarded) : loop_(loop), forwarded_(forwarded) {}

  /// A successor serves, and may ask. `handover` outlives what is told: see end().
  void await(net::Handover& handover);
  /// What it says besides. No thread takes anything new from here on.
  void heard(std::string_view words);
  /// The successor is no more, or this process ends.
  void end();
  /// It may still ask, or has not been told all yet.
  [[nodiscard]] bool is_due() const;

 private:
  void begin();
  void look();

  net::Loop& loop_;
  Forwarded& forwarded_;
  net::Handover* handover_ = nullptr;
  bool asked_ = false;
  bool told_ = false;  ///< all that held when it asked
  net::TimePoint asks_until_{};
  std::deque<std::string> untold_;
  std::array<net::Limiter::Held, forwarded_limiters> last_told_{};
  net::Loop::Timer look_;
};

/// The new process's side.
class ForwardedHearing {
 public:
  explicit ForwardedHearing(Forwarded& forwarded) : forwarded_(forwarded) {}

  /// Errors: protocol, limit (net::Limiter::count_elsewhere).
  [[nodiscard]] Result<> take(std::string_view message);
  /// What the old process held when it took nothing new any more has been told.
  [[nodiscard]] bool told() const { return told_; }
  /// It has ended, and holds nothing.
  void forget();

 private:
  Forwarded& forwarded_;
  bool told_ = false;
};

}  // namespace epif::redirect
