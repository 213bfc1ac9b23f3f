#include "association/datagrams.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>

#include "association/association.h"

namespace epif::association {
namespace {

constexpr unsigned batches_in_a_row = 8;

std::uint64_t random_number() {
  std::uint64_t number = 0;
  [[maybe_unused]] const auto got = ::getrandom(&number, sizeof number, 0);
  assert(got == sizeof number && "the kernel always gives 8 bytes");
  return number;
}

}  // namespace

/// A shared UDP port. Outlives the worker's interest in it until its coroutine has ended.
struct Datagrams::Port {
  Port(Datagrams& owner, net::Loop& loop, Fd fd) : datagrams(&owner), socket(std::make_shared<net::DatagramSocket>(loop, std::move(fd))) {}
  Datagrams* datagrams;  ///< null: over
  std::shared_ptr<net::DatagramSocket> socket;  ///< associations whose clients send to it hold it, too
};

/// From a successor. Outlives the worker's interest in it as a port does.
struct Datagrams::Channel {
  Channel(Datagrams& owner, net::Loop& loop, Fd fd) : datagrams(&owner), socket(std::move(fd)), interest(loop, socket.get()) {}
  Datagrams* datagrams;  ///< null: over
  Fd socket;
  net::Interest interest;
  Bytes room = Bytes(limits::handover_message_max_bytes);
  enum class Heard { message, nothing, end };
  /// A message that does not fit is empty. It stands in `room` until the next call.
  [[nodiscard]] Heard receive(ByteSpan& message);
};

Datagrams::Channel::Heard Datagrams::Channel::receive(ByteSpan& message) {
  const auto got = ::recv(socket.get(), room.data(), room.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    if (errno == EAGAIN) interest.drained_read();
    return Heard::nothing;
  }
  if (got <= 0) return Heard::end;
  const auto size = static_cast<std::size_t>(got);
  message = ByteSpan(room).first(size <= room.size() ? size : 0);
  return Heard::message;
}

Datagrams::~Datagrams() {
  assert(associations_.empty());
  close_ports();
}

void Datagrams::close_ports() {
  for (const auto& port : ports_) {
    port->datagrams = nullptr;
    port->socket->interest().fail({Code::internal, "the port is closed"});
  }
  ports_.clear();
  predecessor_.reset();
  if (!successor_) return;
  successor_->datagrams = nullptr;
  successor_->interest.fail({Code::internal, "the port is closed"});
  successor_.reset();
}

void Datagrams::hand_over() {
  at_ports_ = AtPorts::answers;
  for (const auto& port : ports_) port->socket->interest().fail({Code::internal, "a successor reads the port"});
}

void Datagrams::let_go() {
  at_ports_ = AtPorts::nothing;
  close_ports();
  tell_all(&Association::lose_port);
}

void Datagrams::hear_successor(Fd channel) {
  successor_ = std::make_shared<Channel>(*this, loop_, std::move(channel));
  net::spawn(hear(successor_));
}

void Datagrams::pass_on(Fd channel) { predecessor_ = std::make_unique<net::SeqPacket>(loop_, std::move(channel)); }

net::Task<void> Datagrams::hear(std::shared_ptr<Channel> channel) {
  for (;;) {
    auto ready = co_await channel->interest.readable();
    if (channel->datagrams == nullptr) co_return;
    ByteSpan message;
    const auto heard = ready ? channel->receive(message) : Channel::Heard::end;
    if (heard == Channel::Heard::end) co_return channel->datagrams->let_go();
    if (heard == Channel::Heard::nothing) continue;
    channel->datagrams->serve_passed(message);
    co_await net::Yield{channel->interest.loop()};
    if (channel->datagrams == nullptr) co_return;
  }
}

void Datagrams::serve_passed(ByteSpan message) {
  std::vector<Association*> touched;
  const bool whole = !message.empty() && each_passed(message, [&](const PassedDatagram& one) {
    const auto at = std::ranges::find_if(ports_, [&](const auto& port) { return port->socket->address() == one.port; });
    if (at == ports_.end()) {
      counts_.drop(UdpDrop::no_association);
    } else {
      take(one, (*at)->socket, touched);
    }
  });
  if (!whole) counts_.drop(UdpDrop::malformed);
  flush(touched);
}

void Datagrams::pass(const PassedDatagram& one) {
  if (!predecessor_) return counts_.drop(UdpDrop::no_association);
  if (passed_.size() + passed_head_bytes + one.payload.size() > limits::handover_message_max_bytes) flush_passed();
  append(passed_, one);
  ++passed_count_;
}

void Datagrams::flush_passed() {
  if (passed_.empty()) return;
  if (predecessor_) {
    const auto sent = predecessor_->send_now(passed_);
    if (!sent && sent.error().code == Code::reset) {
      predecessor_.reset();  // it has ended, and its associations with it
    } else if (!sent.value_or(false)) {
      counts_.drop(UdpDrop::congested, passed_count_);
    }
  }
  if (!predecessor_) counts_.drop(UdpDrop::no_association, passed_count_);
  passed_.clear();
  passed_count_ = 0;
}

void Datagrams::flush(const std::vector<Association*>& touched) {
  flush(Direction::to_server);
  for (auto* association : touched) association->flush();
  flush_passed();
}

void Datagrams::take(const PassedDatagram& one, const std::shared_ptr<net::DatagramSocket>& port, std::vector<Association*>& touched) {
  const auto decoded = socks6::decode_udp_message(one.payload);
  const auto* complete = socks::done(decoded);
  if (complete == nullptr) return counts_.drop(UdpDrop::malformed);
  const auto found = by_number_.find(complete->message.association);
  if (found == by_number_.end()) return pass(one);
  found->second->take({port, one.from, one.local}, complete->message);
  if (std::ranges::find(touched, found->second) == touched.end()) touched.push_back(found->second);
}

void Datagrams::listen(Fd socket, std::uint16_t index, std::uint16_t sharing) {
  if (has_let_go()) return;
  index_ = index;
  sharing_ = sharing;
  net::fragment_as_needed(socket.get());  // a predecessor that was killed may have left it otherwise
  ports_.push_back(std::make_shared<Port>(*this, loop_, std::move(socket)));
  if (at_ports_ == AtPorts::answers) return hand_over();
  net::spawn(serve(ports_.back()));
}

net::Task<void> Datagrams::serve(std::shared_ptr<Port> port) {
  for (unsigned batches = 1;; ++batches) {
    auto ready = co_await port->socket->interest().readable();
    if (!ready || port->datagrams == nullptr) co_return;
    port->datagrams->serve_batch(port->socket);
    if (batches % batches_in_a_row == 0) co_await net::Yield{port->socket->interest().loop()};
    if (port->datagrams == nullptr) co_return;
  }
}

void Datagrams::serve_batch(const std::shared_ptr<net::DatagramSocket>& socket) {
  std::vector<Association*> touched;
  const auto at = predecessor_ ? socket->address() : SocketAddress{};
  for (const auto& packet : reader().read(*socket)) take({at, packet.from, packet.local, packet.payload}, socket, touched);
  flush(touched);
}

void Datagrams::adopt() { tell_all(&Association::adopt); }

void Datagrams::tell_all(void (Association::*what)()) {
  // A cut may end an association here and now, which leaves the set: look at a copy.
  const std::vector<Association*> before(associations_.begin(), associations_.end());
  for (auto* association : before) {
    if (associations_.contains(association)) (association->*what)();
  }
}

void Datagrams::add_to(UdpCounts& counts, const Carried& carried) const {
  counts += counts_;
  counts.open += associations_.size();
  for (const auto* association : associations_) association->add_to(counts, carried);
}

void Datagrams::enter(Association& association) { associations_.insert(&association); }

std::uint64_t Datagrams::give_number(Association& association) {
  for (;;) {
    auto number = random_number();
    // The first two bytes lead datagrams to this thread (net::steer_by_number).
    auto head = static_cast<std::uint32_t>(number >> 48);
    head = head - head % sharing_ + index_;
    if (head > 0xffff) head -= sharing_;
    number = (number & 0x0000ffffffffffffu) | (std::uint64_t{head} << 48);
    if (by_number_.emplace(number, &association).second) return number;
  }
}

void Datagrams::leave(Association& association) {
  associations_.erase(&association);
  std::erase_if(by_number_, [&](const auto& entry) { return entry.second == &association; });
}

void Datagrams::flush(Direction direction) {
  if (!buffers_) return;
  sender().flush();
  const auto outcome = sender().take_outcome();
  (direction == Direction::to_server ? counts_.to_server : counts_.to_client) += outcome.sent;
  counts_.drop(UdpDrop::congested, outcome.congested);
  counts_.drop(UdpDrop::too_big, outcome.too_big);
  counts_.drop(UdpDrop::unreachable, outcome.unreachable);
}

}  // namespace epif::association
