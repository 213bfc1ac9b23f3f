#include "redirect/association.h"

#include <array>

#include "base/limits.h"
#include "redirect/capture.h"
#include "redirect/handshake.h"

// Begin and end of an association; the ways of its datagrams are in association_ways.cc.
namespace epif::redirect {

Association::Association(net::Loop& loop, const Settings& settings, Client client, std::shared_ptr<const Routes> routes,
                         const Route* route, net::WarmPool* pool, OnDatagram on_datagram)
    : loop_(loop),
      settings_(settings),
      client_(std::move(client)),
      routes_(std::move(routes)),
      route_(route),
      pool_(pool),
      on_datagram_(std::move(on_datagram)),
      news_(loop),
      last_(net::Clock::now()),
      since_(last_) {}

bool Association::send(const SocketAddress& to, ByteSpan payload) {
  if (outcome_ || waiting_.size() >= limits::datagrams_waiting || waiting_bytes_ + payload.size() > limits::datagrams_waiting_bytes) {
    return false;
  }
  destination_ = to;
  waiting_.push_back({to, Bytes(payload.begin(), payload.end())});
  waiting_bytes_ += payload.size();
  last_ = loop_.now();
  news_.raise();
  return true;
}

void Association::end_with(const Error& reason) {
  if (!outcome_) outcome_ = fail(reason);
  reaching_.cancel(reason);
  if (stream_ != nullptr) stream_->abort(reason);
  if (packets_ != nullptr) packets_->fail(reason);
  news_.raise();
}

void Association::over(Result<> outcome) {
  if (outcome_) return;
  const Error reason = outcome ? Error{Code::internal, "the association has ended"} : outcome.error();
  const bool orderly = outcome.has_value();
  outcome_ = std::move(outcome);
  // An orderly end is told to the proxy, which ends the connection then.
  const bool told = orderly && stream_ != nullptr && stream_->end_write().state == net::Io::State::moved;
  if (told) {
    closing_ = loop_.after(std::chrono::milliseconds(limits::cut_deadline_ms), [this, reason] {
      if (stream_ != nullptr) stream_->abort(reason);
    });
  } else if (stream_ != nullptr) {
    stream_->abort(reason);
  }
  if (packets_ != nullptr) packets_->fail(reason);
  news_.raise();
}

void Association::renew(std::shared_ptr<const Routes> routes, const Route* route) {
  routes_ = std::move(routes);
  route_ = route;
}

net::Task<Result<>> Association::run() {
  Result<> outcome;
  if (!route_->next) {
    outcome = co_await directly();
  } else if (settings_.socks == 6) {
    outcome = co_await over_stream();
  } else {
    outcome = co_await over_relay();
  }
  over(outcome);
  co_return *outcome_;
}

net::Task<bool> Association::next() {
  const auto idle = std::chrono::seconds(route_->limits.idle_s != 0 ? route_->limits.idle_s : limits::datagram_idle_s);
  while (!outcome_ && waiting_.empty()) {
    const auto due = last_ + idle;
    if (loop_.now() >= due) {
      over({});
      break;
    }
    co_await news_.until(due);
  }
  co_return !outcome_;
}

Destination Association::asked_for(const SocketAddress& to) const {
  // A named destination: the address is only this node's alias for it.
  if (!route_->name.empty()) return {route_->name, to.port};
  return {to.ip, to.port};
}

void Association::sent(std::size_t bytes) {
  ++counts_.sent;
  counts_.bytes_sent += bytes;
}

void Association::arrived(const std::variant<IpAddress, std::string_view>& host, std::uint16_t port, ByteSpan payload) {
  // What the program knows the server by: with a name, its alias; what the proxy calls it does not matter.
  const auto* address = std::get_if<IpAddress>(&host);
  const auto& block = route_->destination.block;
  const bool alias = !route_->name.empty();
  if (!alias && (address == nullptr || !block.contains(address->unmapped()))) return;
  if (!route_->destination.ports.contains(port)) return;  // answers come from the route's destination alone
  last_ = loop_.now();
  ++counts_.received;
  counts_.bytes_received += payload.size();
  on_datagram_({alias ? block.address : address->unmapped(), port}, payload);
}

}  // namespace epif::redirect
