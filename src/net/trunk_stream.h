#pragma once
#include "net/trunk.h"

namespace epif::net {

/// One stream of a trunk. Private to src/net: everybody else sees a Stream without a descriptor.
class TrunkStream final : public Stream {
 public:
  TrunkStream(std::shared_ptr<Trunk> trunk, Loop& loop, std::uint32_t number, bool opens);
  ~TrunkStream() override;

  Io read_some(MutableByteSpan into) override;
  Io write_some(ByteSpan from, bool last = false) override;
  Io end_write() override;
  void abort(Error why) override;
  int clear_socket() const override { return -1; }
  Mover leave_loop() override;  ///< not for these: they belong to their trunk
  bool can_splice() const override;
  bool may_splice_later() const override { return !has_failed() && (own_ == nullptr || own_->can_splice()); }
  Io splice_into(Pipe& pipe) override { return own_io(own_->splice_into(pipe)); }
  Io splice_from(Pipe& pipe, bool last) override { return own_write(own_->splice_from(pipe, last)); }
  Io look() override;

  [[nodiscard]] std::uint32_t number() const { return number_; }

 private:
  friend class Trunk;
  // What the trunk tells.
  /// Bytes of the peer; `ends`: the last ones. The reader may take them from where they are; what it leaves is copied. The
  /// stream may be gone afterwards.
  [[nodiscard]] bool within_window(std::size_t bytes) const { return bytes <= granted_ && !ended_in_ && !moved_in_; }
  void arrived(ByteSpan bytes, bool ends);
  void keep_rest();
  [[nodiscard]] Result<> credited(std::uint32_t bytes);
  void room_again() { interest_.news(false, true); }
  void moved_by_peer();
  void broken(const Error& why);
  void go_on_with(std::unique_ptr<Stream> own, Bytes early);
  void take_early();

  [[nodiscard]] bool is_over() const { return ended_in_ && ended_out_; }
  /// Once both ends are said the own connection's last bytes leave in their time: no reset on close any more.
  void leave_in_order();
  /// Its peer has all of it, by the trunk or by its own connection; what is unread here is here.
  [[nodiscard]] bool needs_no_trunk() const { return is_over() || has_moved(); }
  [[nodiscard]] bool has_moved() const { return own_ != nullptr && (moved_in_ || ended_in_) && (moved_out_ || ended_out_); }
  [[nodiscard]] std::size_t unread() const { return fresh_.empty() ? received_.size() - read_at_ : fresh_.size(); }
  std::size_t take(MutableByteSpan into);
  void give_credit();
  void note_size(std::uint32_t& row, std::size_t bytes);
  Io own_io(Io io);
  Io own_write(Io io);

  std::shared_ptr<Trunk> trunk_;
  std::uint32_t number_;
  Bytes received_;              ///< not yet read, from read_at_ on
  std::size_t read_at_ = 0;
  ByteSpan fresh_;              ///< not yet read, in the trunk's buffer, while arrived() runs
  std::uint32_t credit_ = limits::trunk_window_bytes;   ///< may be sent
  std::uint32_t granted_ = limits::trunk_window_bytes;  ///< may come
  std::uint32_t consumed_ = 0;  ///< read, and not yet granted again
  std::uint32_t row_in_ = 0;    ///< bytes of large pieces in a row
  std::uint32_t row_out_ = 0;
  std::unique_ptr<Stream> own_;
  Bytes early_;                 ///< read from own_ before it was ours; behind all that comes by the trunk
  bool unsaid_;                 ///< the opening frame is still to be sent
  bool waits_for_room_ = false;
  std::uint32_t turn_ = 0;      ///< the trunk's round in which it may send a frame before those that have not waited
  bool ended_in_ = false;
  bool ended_out_ = false;
  bool moved_in_ = false;
  bool moved_out_ = false;
  bool aborted_ = false;        ///< by this side: what has come is not read any more
  bool told_bulk_ = false;
};

}  // namespace epif::net
