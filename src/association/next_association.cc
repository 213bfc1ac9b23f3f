#include "association/next_association.h"

#include "association/udp_messages.h"
#include "base/limits.h"

namespace epif::association {

void NextAssociation::start(net::WarmPool& pool, onward::NextRequest request) {
  net::spawn(run(shared_from_this(), pool, std::move(request)));
}

net::Task<void> NextAssociation::run(std::shared_ptr<NextAssociation> self, net::WarmPool& pool, onward::NextRequest request) {
  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::connect_deadline_ms);
  auto made = co_await onward::connect_next(pool, std::move(request), {}, self->making_, deadline);
  if (!made) {
    self->finish(made.error());
    co_return;
  }
  self->stream_ = std::move(made->stream);
  self->queue_ = std::make_unique<StreamQueue>(*self->stream_, self->queued_);
  co_await net::when_both(read(*self, std::move(made->early)), self->queue_->run());
  if (self->closed_) net::reset_on_close(self->stream_->fd(), false);
  self->finish(self->outcome_ ? Error{Code::truncated, "the next proxy ended the association"} : self->outcome_.error());
}

net::Task<void> NextAssociation::read(NextAssociation& self, Bytes received) {
  std::function<Result<>(const socks6::UdpMessage&)> on_message = [&self](const auto& message) { return self.take(message); };
  std::function<void()> on_batch = [&self] {
    if (!self.closed_ && self.number_) self.listener_.batch();
  };
  auto outcome = co_await read_udp_messages(*self.stream_, std::move(received), self.closed_, std::move(on_message), std::move(on_batch));
  self.outcome_ = std::move(outcome);
  self.queue_->close();
  if (self.queue_->blocked()) self.stream_->abort({Code::truncated, "the association is over"});
}

Result<> NextAssociation::take(const socks6::UdpMessage& message) {
  using enum socks6::UdpType;
  if (message.type == init) {
    if (number_) return fail(Code::protocol, "the next proxy begins an association twice");
    number_ = message.association;
    send_waiting();
    return {};
  }
  if (!number_ || message.association != *number_) return fail(Code::protocol, "a message of another association");
  if (closed_) return {};
  if (message.type == datagram) listener_.datagram(message.target, message.payload);
  if (message.type == error) listener_.error(message);
  return {};
}

bool NextAssociation::send(const socks::Target& target, ByteSpan payload) {
  if (ended_ || closed_) return false;
  if (!number_ || !queue_) {
    if (waiting_bytes_ + payload.size() > limits::udp_waiting_bytes || waiting_.size() >= 4 * limits::udp_batch) return false;
    if (!queued_.take(payload.size())) return false;
    waiting_bytes_ += payload.size();
    waiting_.emplace_back(target.destination(), Bytes(payload.begin(), payload.end()));
    return true;
  }
  std::array<std::uint8_t, socks6::udp_header_max_bytes> header{};
  const auto size = socks6::encode_udp_header(*number_, target, payload.size(), header);
  return size != 0 && queue_->push(ByteSpan(header).first(size), payload);
}

void NextAssociation::send_waiting() {
  const auto waiting = std::exchange(waiting_, {});
  forget_waiting();
  for (const auto& [target, payload] : waiting) static_cast<void>(send(socks::Target::of(target), payload));
  flush();
}

void NextAssociation::forget_waiting() {
  waiting_.clear();
  queued_.give(std::exchange(waiting_bytes_, 0));
}

void NextAssociation::flush() {
  if (queue_) queue_->flush();
}

void NextAssociation::close() {
  if (closed_) return;
  closed_ = true;
  const Error over{Code::revoked, "the association is over"};
  if (stream_) {
    stream_->nudge_reader();
    // A reader that does not wait at this moment looks at closed_ by itself.
    if (queue_ && queue_->blocked()) stream_->abort(over);
  } else {
    making_.cut(over);
  }
}

void NextAssociation::finish(const Error& why) {
  ended_ = true;
  forget_waiting();
  if (!closed_ && listener_.ended) listener_.ended(why);
  listener_ = {};
}

}  // namespace epif::association
