#pragma once
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "bridge/message.h"
#include "functions/transform.h"

/// One connection inside a BF: copies both directions through a transform. Non-blocking; serve.cc tells it when to move.
namespace epif::functions {

using Clock = std::chrono::steady_clock;

class Flow {
 public:
  Flow(std::uint64_t conn, std::unique_ptr<Transform> transform) : conn_(conn), transform_(std::move(transform)) {}

  /// The streams and the early bytes, once.
  void start(Fd client, Fd server, bridge::Start start);
  [[nodiscard]] bool started() const { return static_cast<bool>(ends_[0]); }

  /// What move() wants the proxy to know, in this order.
  struct News {
    std::optional<bridge::Cut> cut;
    std::optional<bridge::Report> report;  ///< the flow is over; destroy it
  };
  /// Reads and writes until both directions block or the turn's share is used up. `announce` is called for each direction
  /// that ended, before its descriptor is shut down. `scratch` is shared between flows.
  template <class Announce>
  [[nodiscard]] News move(MutableByteSpan scratch, Announce announce);
  /// True if the last move() stopped at its share: call it again after the others had their turn.
  [[nodiscard]] bool has_more() const { return more_; }

  /// Edge-triggered readiness from epoll; `side` 0 is the client's, 1 the server's.
  void ready(std::size_t side, std::uint32_t events);
  [[nodiscard]] int fd(std::size_t side) const { return ends_[side].get(); }
  [[nodiscard]] std::uint64_t conn() const { return conn_; }

  /// Past this time a transform that still holds bytes is cut; empty while it holds none.
  [[nodiscard]] std::optional<Clock::time_point> hold_deadline() const { return hold_deadline_; }
  /// The report of a flow that the proxy has cut.
  [[nodiscard]] bridge::Report report(std::string_view verdict, std::string note) const;

 private:
  struct Way {                 // one direction; index 0 is to_server: reads ends_[0], writes ends_[1]
    Bytes early;
    Bytes pending;             // output that the reader has not taken
    std::size_t sent = 0;      // of pending
    bool read_ended = false;
    bool finished = false;     // transform told
    bool done = false;         // end announced and passed on
    std::uint64_t written = 0;
  };
  enum class Step { again, blocked, done };
  [[nodiscard]] Result<Step> step(std::size_t way, MutableByteSpan scratch);
  [[nodiscard]] Result<bool> flush(std::size_t way);
  [[nodiscard]] Result<std::size_t> write_some(std::size_t way, ByteSpan bytes);
  [[nodiscard]] Result<> pass(std::size_t way, ByteSpan in);
  void shut(std::size_t way);
  void note_hold();

  std::uint64_t conn_;
  std::unique_ptr<Transform> transform_;
  std::array<Fd, 2> ends_;
  std::array<bool, 2> direct_{};
  std::array<bool, 2> readable_{};
  std::array<bool, 2> writable_{};
  std::array<bool, 2> hung_up_{};
  std::array<Way, 2> ways_;
  std::optional<Clock::time_point> hold_deadline_;
  bool more_ = false;
};

template <class Announce>
Flow::News Flow::move(MutableByteSpan scratch, Announce announce) {
  constexpr int share = 16;  // buffers per direction and turn, so that one bulk flow does not starve the others
  News news;
  more_ = false;
  for (std::size_t way = 0; way < 2; ++way) {
    for (int turn = 0; !ways_[way].done; ++turn) {
      if (turn == share) {
        more_ = true;
        break;
      }
      const auto stepped = step(way, scratch);
      if (!stepped) {
        news.cut = bridge::Cut{conn_, stepped.error().text()};
        news.report = report("cut", stepped.error().text());
        return news;
      }
      if (*stepped == Step::blocked) break;
      if (*stepped == Step::done) {
        announce(bridge::End{conn_, way == 0 ? Direction::to_server : Direction::to_client, ways_[way].written});
        shut(way);
      }
    }
  }
  note_hold();
  if (ways_[0].done && ways_[1].done) news.report = report("passed", {});
  return news;
}

}  // namespace epif::functions
