#include "association/datagrams.h"

#include <sys/random.h>

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
}

void Datagrams::listen(Fd socket, std::uint16_t index, std::uint16_t sharing) {
  index_ = index;
  sharing_ = sharing;
  ports_.push_back(std::make_shared<Port>(*this, loop_, std::move(socket)));
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
  for (const auto& packet : reader().read(*socket)) {
    const auto decoded = socks6::decode_udp_message(packet.payload);
    const auto* complete = socks::done(decoded);
    if (complete == nullptr) {
      counts_.drop(UdpDrop::malformed);
      continue;
    }
    const auto found = by_number_.find(complete->message.association);
    if (found == by_number_.end()) {
      counts_.drop(UdpDrop::no_association);
      continue;
    }
    found->second->take({socket, packet.from, packet.local}, complete->message);
    if (std::ranges::find(touched, found->second) == touched.end()) touched.push_back(found->second);
  }
  flush(Direction::to_server);
  for (auto* association : touched) association->flush();
}

void Datagrams::adopt() {
  // A cut may end an association here and now, which leaves the set: look at a copy.
  const std::vector<Association*> before(associations_.begin(), associations_.end());
  for (auto* association : before) {
    if (associations_.contains(association)) association->adopt();
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
