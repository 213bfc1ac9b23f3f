#include "net/trunk.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>

#include "net/trunk_stream.h"

namespace epif::net {
namespace {

std::unexpected<Error> breach(std::string_view what) { return fail(Code::protocol, "the peer breaks the trunk's protocol", {}, std::string(what)); }

}  // namespace

std::shared_ptr<Trunk> Trunk::make(std::unique_ptr<Stream> carrier, Settings settings) {
  return std::shared_ptr<Trunk>(new Trunk(std::move(carrier), std::move(settings)));
}

Trunk::Trunk(std::unique_ptr<Stream> carrier, Settings settings) : carrier_(std::move(carrier)), settings_(std::move(settings)) {
  // What is not on its way yet waits here and not in the kernel, where megabytes would stand before a reset or a short word.
  const int most = limits::trunk_unsent_bytes;
  ::setsockopt(carrier_->fd(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
}

Trunk::~Trunk() { assert(streams_.empty() && "each holds its trunk"); }

Task<Result<>> Trunk::run(Bytes early) {
  const auto self = shared_from_this();
  end_if_unused();
  Bytes in = std::move(early);
  auto held = in.size();
  in.resize(std::max<std::size_t>(held, limits::relay_buffer_bytes));
  Result<> outcome;
  int reads = 0;  // without a wait
  while (outcome && !is_done()) {
    std::size_t used = 0;
    outcome = take(ByteSpan(in).first(held), used);
    // Less than a header is left, if anything.
    std::copy(in.begin() + static_cast<std::ptrdiff_t>(used), in.begin() + static_cast<std::ptrdiff_t>(held), in.begin());
    held -= used;
    if (!outcome || is_done()) break;
    const Io io = carrier_->read_some(MutableByteSpan(in).subspan(held));
    if (io.state == Io::State::moved) {
      held += io.bytes;
      heard_ = carrier_->loop().now();
      if (++reads % limits::trunk_reads_at_once == 0) co_await carrier_->loop().sleep(std::chrono::milliseconds(0));
    } else if (io.state == Io::State::would_block) {
      reads = 0;
      co_await carrier_->until_readable();
    } else if (io.state == Io::State::failed) {
      outcome = fail(carrier_->error());
    } else if (std::ranges::all_of(streams_, [](const auto& entry) { return entry.second->needs_no_trunk(); })) {
      break;
    } else {
      outcome = fail(Code::truncated, "the peer ended the trunk under its streams");
    }
  }
  failed_ = true;
  idle_.cancel();
  if (outcome) {
    reset_on_close(carrier_->fd(), false);
    static_cast<void>(carrier_->end_write());
    fail_all({Code::truncated, "the trunk has ended"});
    co_await await_peers_end(in);
  } else {
    carrier_->abort(outcome.error());
    fail_all(outcome.error());
  }
  co_return outcome;
}

Task<void> Trunk::await_peers_end(MutableByteSpan scrap) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(limits::trunk_farewell_ms);
  for (int reads = 0; reads < limits::trunk_farewell_reads; ++reads) {
    const Io io = carrier_->read_some(scrap);
    if (io.state == Io::State::moved) continue;
    if (io.state != Io::State::would_block) co_return;
    auto ready = co_await carrier_->readable(deadline);
    if (!ready) co_return;
  }
}

/// Takes all whole headers and whatever there is of their bytes.
Result<> Trunk::take(ByteSpan bytes, std::size_t& used) {
  const auto all = bytes.size();
  for (;;) {
    used = all - bytes.size();
    if (left_ > 0) {
      const auto piece = bytes.first(std::min(left_, bytes.size()));
      if (piece.empty()) return {};
      left_ -= piece.size();
      bytes = bytes.subspan(piece.size());
      if (auto done = deliver(frame_, piece, left_ == 0); !done) return done;
      continue;
    }
    if (bytes.size() < trunk_header_bytes) return {};
    const auto frame = decode_trunk_frame(bytes);
    if (!frame) return breach("a frame of no known kind");
    const bool with_credit = frame->kind == TrunkFrame::Kind::credit;
    if (with_credit && bytes.size() < trunk_header_bytes + trunk_credit_bytes) return {};
    auto body = bytes.subspan(trunk_header_bytes);
    if (auto done = begin_frame(*frame, body); !done) return done;
    bytes = with_credit ? body.subspan(trunk_credit_bytes) : body;
  }
}

Result<> Trunk::begin_frame(const TrunkFrame& frame, ByteSpan credit) {
  if (frame.kind == TrunkFrame::Kind::drain) {
    if (settings_.accept) return breach("only the accepting side may drain");
    draining_ = true;
    end_if_unused();
    return {};
  }
  if (frame.kind == TrunkFrame::Kind::data) {
    if (frame.opens) {
      if (auto opened = opened_by_peer(frame.stream); !opened) return opened;
    }
    frame_ = frame;
    left_ = frame.length;
    if (left_ == 0) return deliver(frame, {}, true);
    if (const auto found = streams_.find(frame.stream); found != streams_.end()) found->second->note_size(found->second->row_in_, left_);
    return {};
  }
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end()) return {};  // gone here; the peer did not know yet
  switch (frame.kind) {
    case TrunkFrame::Kind::reset: found->second->broken({Code::reset, "the peer broke the connection"}); return {};
    case TrunkFrame::Kind::credit: return found->second->credited(load_u32(credit.data()));
    default: found->second->moved_by_peer(); return {};
  }
}

Result<> Trunk::opened_by_peer(std::uint32_t stream) {
  if (!settings_.accept) return breach("only the opening side may open streams");
  if (next_ == 0 || stream < next_) return breach("a stream's number comes twice");
  next_ = stream + 1;
  // Also while this side drains: the peer may not know yet.
  auto made = std::make_unique<TrunkStream>(shared_from_this(), carrier_->loop(), stream, false);
  idle_.cancel();
  streams_.emplace(stream, made.get());
  settings_.accept(std::move(made));
  return {};
}

Result<> Trunk::deliver(const TrunkFrame& frame, ByteSpan bytes, bool whole) {
  auto found = streams_.find(frame.stream);
  if (found == streams_.end()) return {};
  if (!found->second->within_window(bytes.size())) return breach("more bytes than were granted");
  found->second->arrived(bytes, whole && frame.ends);
  // Whoever read may have ended the stream, or others.
  found = streams_.find(frame.stream);
  if (found != streams_.end()) found->second->keep_rest();
  return {};
}

void Trunk::fail_all(const Error& why) {
  std::vector<std::uint32_t> numbers;
  for (const auto& [number, stream] : streams_) numbers.push_back(number);
  for (const auto number : numbers) {
    const auto found = streams_.find(number);
    if (found != streams_.end() && !found->second->needs_no_trunk()) found->second->broken(why);
  }
}

std::unique_ptr<Stream> Trunk::open() {
  if (!takes_streams()) return nullptr;
  auto made = std::make_unique<TrunkStream>(shared_from_this(), carrier_->loop(), next_, true);
  idle_.cancel();
  streams_.emplace(next_, made.get());
  ++next_;
  return made;
}

void Trunk::drain() {
  if (draining_) return;
  draining_ = true;
  if (settings_.accept && !failed_ && !closing_) {
    put({TrunkFrame::Kind::drain}, {});  // whatever the peer opens before it knows is still served
    return;
  }
  end_if_unused();
}

void Trunk::abort(const Error& why) {
  carrier_->abort(why);  // run() wakes, and fails the streams; or it ends without the peer's end
}

bool Trunk::continue_on(std::uint32_t stream, std::unique_ptr<Stream> own, Bytes early) {
  const auto found = streams_.find(stream);
  if (found == streams_.end() || found->second->has_failed()) return false;
  found->second->go_on_with(std::move(own), std::move(early));
  return true;
}

void Trunk::left(TrunkStream& stream) {
  streams_.erase(stream.number());
  end_if_unused();
}

/// The opening side ends an unused trunk, at once if it drains; the accepting side only one that its peer has forgotten.
void Trunk::end_if_unused() {
  if (!streams_.empty() || failed_ || closing_) return;
  if (draining_ && !settings_.accept) {
    finish();
    return;
  }
  idle_ = carrier_->loop().after(settings_.idle, [this] { finish(); });
}

void Trunk::finish() {
  closing_ = true;
  carrier_->nudge_reader();
}

/// While streams wait, each sends a small frame in its turn: nobody with much to send comes first for ever.
std::size_t Trunk::take_room(std::uint32_t turn) {
  const auto held = out_.size() - out_at_;
  const auto room = held >= limits::trunk_buffer_bytes ? 0 : limits::trunk_buffer_bytes - held;
  if (turn == round_ && turns_ > 0) {
    --turns_;
    return std::min(room, limits::trunk_large_bytes);
  }
  return turns_ > 0 || !waiting_.empty() ? 0 : room;
}

void Trunk::put(const TrunkFrame& frame, ByteSpan payload) {
  if (failed_) return;
  const auto header = encode_trunk_frame(frame);
  last_data_.reset();
  if (frame.kind == TrunkFrame::Kind::data) last_data_ = out_.size();
  out_.insert(out_.end(), header.begin(), header.end());
  out_.insert(out_.end(), payload.begin(), payload.end());
  if (out_.size() - out_at_ > limits::trunk_buffer_bytes * 4) {
    // Room is asked for before data: these are short answers to a peer that does not read.
    carrier_->abort({Code::limit, "the peer takes nothing from the trunk"});
    return;
  }
  flush_soon();
}

void Trunk::open_those_before(std::uint32_t stream) {
  for (; said_ + 1 < stream; ++said_) {
    const auto found = streams_.find(said_ + 1);
    if (found != streams_.end() && std::exchange(found->second->unsaid_, false)) put({TrunkFrame::Kind::data, true, false, 0, said_ + 1}, {});
  }
  said_ = stream;
}

bool Trunk::end_with_last_frame(std::uint32_t stream) {
  if (!last_data_ || is_blocked_) return false;
  const auto header = MutableByteSpan(out_).subspan(*last_data_, trunk_header_bytes);
  auto frame = decode_trunk_frame(header);
  if (!frame || frame->stream != stream) return false;
  frame->ends = true;
  std::ranges::copy(encode_trunk_frame(*frame), header.begin());
  last_data_.reset();
  return true;
}

void Trunk::wait_for_room(TrunkStream& stream) { waiting_.push_back(stream.number()); }

void Trunk::flush_soon() {
  if (flushing_) return;
  flushing_ = true;
  carrier_->loop().defer([self = shared_from_this()] { self->flush(); });
}

void Trunk::flush() {
  last_data_.reset();
  while (out_at_ < out_.size() && !failed_) {
    const Io io = carrier_->write_some(ByteSpan(out_).subspan(out_at_));
    if (io.state == Io::State::would_block) {
      is_blocked_ = true;
      spawn(flush_when_writable());
      return;
    }
    if (io.state != Io::State::moved) {
      carrier_->abort({Code::reset, "the peer broke the trunk"});
      break;
    }
    out_at_ += io.bytes;
  }
  flushing_ = false;
  is_blocked_ = false;
  out_.clear();
  out_at_ = 0;
  if (out_.capacity() > limits::relay_buffer_bytes) Bytes().swap(out_);
  if (closing_) carrier_->nudge_reader();
  give_turns();
}

void Trunk::give_turns() {
  ++round_;
  turns_ = 0;
  while (turns_ < limits::trunk_buffer_bytes / limits::trunk_large_bytes && !waiting_.empty()) {
    const auto found = streams_.find(waiting_.front());
    waiting_.pop_front();
    if (found == streams_.end()) continue;
    ++turns_;
    found->second->waits_for_room_ = false;
    found->second->turn_ = round_;
    found->second->room_again();
  }
  if (turns_ > 0) flush_soon();  // which ends the turns that nobody takes
}

Task<void> Trunk::flush_when_writable() {
  const auto self = shared_from_this();
  co_await carrier_->until_writable();
  flush();
}

}  // namespace epif::net
