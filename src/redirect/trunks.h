#pragma once
#include <memory>
#include <set>
#include <string>

#include "net/cancel.h"
#include "net/trunk.h"
#include "net/warm_pool.h"
#include "redirect/settings.h"

namespace epif::redirect {

/// The trunk to one proxy under one identity, on one thread. It is made once the proxy has offered one in its answer to a
/// flow, replaced when it drains or breaks, and ends with this, but not before its flows. For the loop's own thread.
class Trunks {
 public:
  /// Of all proxies of a thread.
  struct Carrying {
    std::set<net::Trunk*> trunks;    ///< that carry or are about to end: what they hold is still to leave
    std::set<net::Cancel*> asking;   ///< proxies are asked for a trunk, or to move a flow
    [[nodiscard]] bool empty() const { return trunks.empty() && asking.empty(); }
    void abort(const Error& why) {
      for (auto* trunk : trunks) trunk->abort(why);
      for (auto* one : asking) one->cancel(why);
    }
  };

  /// `pool` makes connections to the same proxy and outlives this. `settings` outlives all flows.
  Trunks(net::Loop& loop, const Settings& settings, net::WarmPool& pool, std::shared_ptr<Carrying> carrying);
  ~Trunks();
  Trunks(const Trunks&) = delete;
  Trunks& operator=(const Trunks&) = delete;

  /// This proxy is known to be one of ours, by its certificate: the trunk is for all routes but those that it declines. It is made
  /// `now`, or at the first flow if nothing is to stand ready unasked.
  void begin(bool now);
  /// A stream for a flow of this route; null where the proxy has not offered it, or no trunk stands.
  [[nodiscard]] std::unique_ptr<net::Stream> open(const std::string& route);
  /// The next request for this route shall ask whether the proxy offers a trunk.
  [[nodiscard]] bool asks(const std::string& route) const;
  /// What the proxy answered.
  void answered(const std::string& route, bool offered);
  /// A flow has waited in vain for its answer since then. If nothing else came either, the proxy may be gone without a word:
  /// later ones use another trunk.
  void doubt(net::TimePoint since);
  /// The routes have changed: each is asked about again.
  void forget_answers();
  /// No new streams; what is carried goes on to its end.
  void hand_over();
  [[nodiscard]] std::size_t standing() const;
  [[nodiscard]] std::uint64_t flows() const;  ///< carried by trunks since the start
  [[nodiscard]] std::uint64_t moved() const;  ///< of these, that went on in a connection of their own

 private:
  struct State;
  void retire();
  std::shared_ptr<State> state_;
};

}  // namespace epif::redirect
