#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/limits.h"
#include "net/stream.h"
#include "net/trunk_frame.h"

/// A trunk: one connection between two of our programs that carries many streams, so that a flow costs neither a connection of
/// its own nor, under load, system calls of its own: what the streams of one round of the loop have to say leaves in one write.
/// A stream that turns out to be bulk moves to a connection of its own. Protocol: docs/trunk.md.
namespace epif::net {

class TrunkStream;

class Trunk : public std::enable_shared_from_this<Trunk> {
 public:
  using Accept = std::move_only_function<void(std::unique_ptr<Stream>)>;
  /// A stream of this number carries bulk and would better have a connection of its own: see continue_on().
  using Bulk = std::function<void(std::uint32_t stream)>;

  struct Settings {
    Accept accept{};  ///< takes each stream that the peer opens; empty at the side that opens them
    Bulk bulk{};      ///< at the side that opens; empty: no stream moves
    std::chrono::milliseconds idle{limits::warm_pool_idle_s * 1000};  ///< without a stream it ends after this
  };
  [[nodiscard]] static std::shared_ptr<Trunk> make(std::unique_ptr<Stream> carrier, Settings settings);
  ~Trunk();
  Trunk(const Trunk&) = delete;
  Trunk& operator=(const Trunk&) = delete;

  /// Carries until the carrier ends; its streams, but those that have moved, then fail with the reason. `early`: bytes already
  /// read from the carrier. To be awaited or spawned once. Errors: protocol, those of the carrier.
  [[nodiscard]] Task<Result<>> run(Bytes early);

  /// A new stream, unless this trunk ends or drains: null. Nothing is sent before its first byte.
  [[nodiscard]] std::unique_ptr<Stream> open();
  [[nodiscard]] bool takes_streams() const { return !draining_ && !closing_ && !failed_ && next_ != 0; }
  /// No new streams, from either side; it ends with its last one. The accepting side tells the peer.
  void drain();
  /// Ends it and its streams now.
  void abort(const Error& why);
  /// The stream goes on over `own`, in both directions, as soon as each side has said so. Nothing happens if it is gone. `early`: bytes
  /// of the stream already read from `own`, of a peer that went on at once. False: it is not there.
  bool continue_on(std::uint32_t stream, std::unique_ptr<Stream> own, Bytes early = {});
  [[nodiscard]] bool has(std::uint32_t stream) const { return streams_.contains(stream); }
  [[nodiscard]] std::size_t streams() const { return streams_.size(); }
  /// When the peer last sent anything.
  [[nodiscard]] TimePoint heard() const { return heard_; }

 private:
  friend class TrunkStream;
  Trunk(std::unique_ptr<Stream> carrier, Settings settings);
  [[nodiscard]] Result<> take(ByteSpan bytes, std::size_t& used);
  [[nodiscard]] Result<> begin_frame(const TrunkFrame& frame, ByteSpan credit);
  [[nodiscard]] Result<> deliver(const TrunkFrame& frame, ByteSpan bytes, bool whole);
  [[nodiscard]] Result<> opened_by_peer(std::uint32_t stream);
  void fail_all(const Error& why);
  /// After our end: closing under bytes of the peer would reset the carrier, and ours that are on their way with it.
  [[nodiscard]] Task<void> await_peers_end(MutableByteSpan scrap);

  // For its streams.
  [[nodiscard]] std::size_t take_room(std::uint32_t turn);
  void put(const TrunkFrame& frame, ByteSpan payload);
  /// The peer takes rising numbers only: those below that have said nothing yet are opened first.
  void open_those_before(std::uint32_t stream);
  /// The stream's direction ends with the frame that was put last, so that both arrive together. False: it is not this
  /// stream's, or may be under way.
  [[nodiscard]] bool end_with_last_frame(std::uint32_t stream);
  void wait_for_room(TrunkStream& stream);
  void left(TrunkStream& stream);
  void flush_soon();
  void flush();
  void give_turns();
  [[nodiscard]] Task<void> flush_when_writable();
  void end_if_unused();
  void finish();
  [[nodiscard]] bool is_done() const { return closing_ && out_.empty(); }

  std::unique_ptr<Stream> carrier_;
  Settings settings_;
  std::unordered_map<std::uint32_t, TrunkStream*> streams_;
  std::uint32_t said_ = 0;   ///< opener: the last number that the peer was told of
  std::uint32_t next_ = 1;   ///< opener: the next number; acceptor: the smallest that may come; 0: all are used
  TrunkFrame frame_{};       ///< of data, that is being received
  std::size_t left_ = 0;     ///< of its bytes
  Bytes out_;
  std::size_t out_at_ = 0;
  std::optional<std::size_t> last_data_;  ///< in out_: the frame put last, if it is of data and not under way
  std::deque<std::uint32_t> waiting_;  ///< streams that wait for room in out_, in their order; a flush is to come
  std::uint32_t round_ = 0;  ///< of turns; one ends with the next flush
  std::size_t turns_ = 0;    ///< of this round, not taken yet
  TimePoint heard_{};
  Loop::Timer idle_;
  bool flushing_ = false;    ///< a flush is to come
  bool is_blocked_ = false;  ///< a flush waits for the carrier, which may hold some of out_ already
  bool draining_ = false;
  bool closing_ = false;
  bool failed_ = false;
};

}  // namespace epif::net
