#include "net/trunk_stream.h"

#include <algorithm>
#include <cassert>

namespace epif::net {

TrunkStream::TrunkStream(std::shared_ptr<Trunk> trunk, Loop& loop, std::uint32_t number, bool opens)
    : Stream(loop, Fd()), trunk_(std::move(trunk)), number_(number), unsaid_(opens) {
  interest_.drained_read();
}

TrunkStream::~TrunkStream() {
  // As a socket that is closed under unread or unsent bytes: never to be taken for an end.
  if (!is_over() && !has_failed() && !unsaid_) trunk_->put({TrunkFrame::Kind::reset, false, false, 0, number_}, {});
  trunk_->left(*this);
}

std::size_t TrunkStream::take(MutableByteSpan into) {
  const auto source = fresh_.empty() ? ByteSpan(received_).subspan(read_at_) : fresh_;
  const auto count = std::min(into.size(), source.size());
  std::copy_n(source.begin(), count, into.begin());
  if (!fresh_.empty()) {
    fresh_ = fresh_.subspan(count);
  } else {
    read_at_ += count;
    if (read_at_ == received_.size()) {
      Bytes().swap(received_);
      read_at_ = 0;
    }
  }
  return count;
}

void TrunkStream::give_credit() {
  if (consumed_ < limits::trunk_window_bytes / 2 || ended_in_ || moved_in_ || has_failed()) return;
  std::array<std::uint8_t, trunk_credit_bytes> body{};
  store_u32(body.data(), consumed_);
  trunk_->put({TrunkFrame::Kind::credit, false, false, trunk_credit_bytes, number_}, body);
  granted_ += consumed_;
  consumed_ = 0;
}

Io TrunkStream::own_io(Io io) {
  read_needs_write_ = own_->reads_by_writing();
  if (io.state == Io::State::end) {
    ended_in_ = true;
    leave_in_order();
  } else if (io.state == Io::State::failed) {
    if (own_->has_failed()) return fail_with(own_->error());
  } else if (!own_->may_read()) {
    interest_.drained_read();
  }
  // TLS that owes an answer waits for news of room, not for what was known of it before.
  if (io.state == Io::State::would_block && read_needs_write_) interest_.blocked_write();
  return io;
}

void TrunkStream::leave_in_order() {
  if (own_ && is_over()) reset_on_close(own_->fd(), false);
}

Io TrunkStream::own_write(Io io) {
  if (io.state == Io::State::would_block) interest_.blocked_write();
  return io;
}

Io TrunkStream::read_some(MutableByteSpan into) {
  if (aborted_) return {Io::State::failed};
  if (unread() > 0) {
    const auto count = take(into);
    consumed_ += static_cast<std::uint32_t>(count);
    give_credit();
    if (unread() == 0 && !ended_in_ && own_ == nullptr && !has_failed()) interest_.drained_read();
    return {Io::State::moved, count};
  }
  if (has_failed()) return {Io::State::failed};
  if (ended_in_) return {Io::State::end};
  if (moved_in_ && own_) return own_io(own_->read_some(into));
  interest_.drained_read();
  return {Io::State::would_block};
}

Io TrunkStream::look() {
  if (aborted_) return {Io::State::failed};
  if (unread() > 0) return {Io::State::moved, 1};
  if (has_failed()) return {Io::State::failed};
  if (ended_in_) return {Io::State::end};
  if (moved_in_ && own_) return own_io(own_->look());
  interest_.drained_read();
  return {Io::State::would_block};
}

Io TrunkStream::write_some(ByteSpan from, bool last) {
  if (has_failed()) return {Io::State::failed};
  assert(!ended_out_);
  if (moved_out_) {
    return own_write(own_->write_some(from, last));
  }
  const auto room = std::min<std::size_t>({from.size(), credit_, trunk_->take_room(std::exchange(turn_, 0)), limits::trunk_frame_bytes});
  if (unsaid_) trunk_->open_those_before(number_);
  if (room == 0) {
    // Who waits for room keeps its place among those that are opened.
    if (std::exchange(unsaid_, false)) trunk_->put({TrunkFrame::Kind::data, true, false, 0, number_}, {});
    interest_.blocked_write();
    if (credit_ > 0 && !std::exchange(waits_for_room_, true)) trunk_->wait_for_room(*this);
    return {Io::State::would_block};
  }
  trunk_->put({TrunkFrame::Kind::data, std::exchange(unsaid_, false), false, static_cast<std::uint16_t>(room), number_}, from.first(room));
  credit_ -= static_cast<std::uint32_t>(room);
  note_size(row_out_, from.size());
  return {Io::State::moved, room};
}

Io TrunkStream::end_write() {
  if (has_failed()) return {Io::State::failed};
  if (ended_out_) return {Io::State::moved};
  if (moved_out_) {
    const Io io = own_write(own_->end_write());
    if (io.state != Io::State::moved) return io;
    ended_out_ = true;
    leave_in_order();
    return io;
  }
  if (unsaid_) trunk_->open_those_before(number_);
  if (unsaid_ || !trunk_->end_with_last_frame(number_)) {
    trunk_->put({TrunkFrame::Kind::data, std::exchange(unsaid_, false), true, 0, number_}, {});
  }
  ended_out_ = true;
  leave_in_order();
  return {Io::State::moved};
}

Stream::Mover TrunkStream::leave_loop() {
  assert(false && "a stream of a trunk stays on its loop");
  return [](Loop&) { return std::unique_ptr<Stream>(); };
}

void TrunkStream::abort(Error why) {
  if (!aborted_ && !has_failed() && !is_over() && !unsaid_) trunk_->put({TrunkFrame::Kind::reset, false, false, 0, number_}, {});
  aborted_ = true;
  fresh_ = {};
  Bytes().swap(received_);
  read_at_ = 0;
  if (own_) own_->abort(why);
  interest_.fail(std::move(why));
}

void TrunkStream::arrived(ByteSpan bytes, bool ends) {
  granted_ -= static_cast<std::uint32_t>(bytes.size());
  ended_in_ = ends;
  leave_in_order();
  if (aborted_ || has_failed()) return;
  if (received_.empty()) {
    fresh_ = bytes;
  } else {
    received_.insert(received_.end(), bytes.begin(), bytes.end());
  }
  interest_.news(true, false);
}

void TrunkStream::keep_rest() {
  received_.insert(received_.end(), fresh_.begin(), fresh_.end());
  fresh_ = {};
}

Result<> TrunkStream::credited(std::uint32_t bytes) {
  if (bytes > limits::trunk_window_bytes - credit_) return fail(Code::protocol, "the peer grants more than it was sent");
  credit_ += bytes;
  room_again();
  return {};
}

void TrunkStream::broken(const Error& why) {
  if (own_) own_->abort(why);
  interest_.fail(why);
}

/// Large pieces in a row are bulk; anything small between them is a conversation.
void TrunkStream::note_size(std::uint32_t& row, std::size_t bytes) {
  row = bytes < limits::trunk_large_bytes ? 0 : row + static_cast<std::uint32_t>(std::min<std::size_t>(bytes, limits::trunk_frame_bytes));
  if (row < limits::trunk_bulk_bytes || told_bulk_ || !trunk_->settings_.bulk) return;
  told_bulk_ = true;
  // Not from in here: whoever is told may act on this stream at once.
  loop().defer([trunk = trunk_, number = number_] {
    if (trunk->has(number)) trunk->settings_.bulk(number);
  });
}

bool TrunkStream::can_splice() const { return has_moved() && unread() == 0 && !ended_in_ && own_->can_splice(); }

void TrunkStream::go_on_with(std::unique_ptr<Stream> own, Bytes early) {
  if (own_) return;
  own_ = std::move(own);
  early_ = std::move(early);
  reset_on_close(own_->fd(), true);
  own_->forward_news(interest_);
  if (!ended_out_) trunk_->put({TrunkFrame::Kind::moved, false, false, 0, number_}, {});
  moved_out_ = !ended_out_;
  take_early();
  interest_.news(true, true);
}

void TrunkStream::moved_by_peer() {
  moved_in_ = true;
  take_early();
  if (own_) interest_.news(true, false);
}

void TrunkStream::take_early() {
  if (!moved_in_ || !own_ || aborted_) return;
  received_.insert(received_.end(), early_.begin(), early_.end());
  Bytes().swap(early_);
}

}  // namespace epif::net
