#include <array>

#include "base/limits.h"
#include "redirect/association.h"
#include "redirect/capture.h"
#include "redirect/handshake.h"
#include "socks/socks5_udp.h"
#include "socks/socks6_udp.h"

// How datagrams travel: inside of a SOCKS6 connection, through a SOCKS5 relay, or straight.
namespace epif::redirect {
namespace {

net::TimePoint handshake_deadline() { return net::Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms); }

Error from_proxy(Error error, const Route& route) {
  if (error.where.empty()) error.where = "proxy " + route.next->proxy.text();
  return error;
}

SocketAddress any_of(bool v6) { return {v6 ? *IpAddress::parse("::") : IpAddress(), 0}; }

}  // namespace

net::Task<Result<>> Association::over_stream() {
  const auto deadline = handshake_deadline();
  auto request = socks6_request({Destination{IpAddress(), 0}, route_->id, false, settings_.user ? &*settings_.user : nullptr,
                                 socks::Command::udp_associate}, {});
  if (!request) co_return fail(std::move(request.error()));
  auto taken = co_await pool_->take(*request, deadline, &reaching_);
  if (!taken) co_return fail(from_proxy(std::move(taken.error()), *route_));
  if (outcome_) co_return *outcome_;
  auto& stream = *taken->stream;
  stream_ = &stream;
  Result<Bytes> early;
  auto written = co_await net::write_all(stream, ByteSpan(*request).subspan(taken->sent), deadline);
  if (written) {
    early = co_await socks6_replies(stream, deadline);
  } else {
    early = fail(std::move(written.error()));
  }
  if (early && !outcome_) {
    co_await net::when_both(stream_sender(stream), stream_receiver(stream, std::move(*early)));
  }
  stream_ = nullptr;
  if (!early) co_return fail(from_proxy(std::move(early.error()), *route_));
  co_return *outcome_;
}

net::Task<void> Association::stream_sender(net::Stream& stream) {
  const auto deadline = handshake_deadline();
  while (!numbered_ && !outcome_ && net::Clock::now() < deadline) co_await news_.until(deadline);
  if (!numbered_) over(fail(Code::timeout, "the proxy gives the association no number", "proxy " + route_->next->proxy.text()));
  Bytes message;
  for (;;) {
    const bool more = co_await next();
    if (!more) co_return;
    const auto datagram = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= datagram.payload.size();
    message.resize(socks6::udp_header_max_bytes);
    const auto destination = asked_for(datagram.remote);
    const auto header = socks6::encode_udp_header(number_, socks::Target::of(destination), datagram.payload.size(), message);
    if (header == 0) continue;  // too large for a SOCKS6 message
    message.resize(header);
    message.insert(message.end(), datagram.payload.begin(), datagram.payload.end());
    auto written = co_await net::write_all(stream, message);
    if (!written) {
      over(fail(std::move(written.error())));
      co_return;
    }
    sent(datagram.payload.size());
  }
}

net::Task<void> Association::stream_receiver(net::Stream& stream, Bytes received) {
  for (;;) {
    std::size_t used = 0;
    while (used < received.size()) {
      const auto decoded = socks6::decode_udp_message(ByteSpan(received).subspan(used));
      if (socks::malformed<socks6::UdpMessage>(decoded) != nullptr) {
        over(fail(Code::protocol, "the proxy's datagrams are not SOCKS6"));
        co_return;
      }
      const auto* whole = socks::done<socks6::UdpMessage>(decoded);
      if (whole == nullptr) break;
      used += whole->consumed;
      const auto& message = whole->message;
      if (message.type == socks6::UdpType::init && !numbered_) {
        number_ = message.association;
        numbered_ = true;
        news_.raise();
      } else if (message.type == socks6::UdpType::datagram && numbered_ && message.association == number_) {
        arrived(message.target.host, message.target.port, message.payload);
      }
    }
    received.erase(received.begin(), received.begin() + static_cast<std::ptrdiff_t>(used));
    if (received.empty()) Bytes().swap(received);
    const auto buffer = loop_.scratch();
    const auto io = stream.read_some(buffer);
    if (io.state == net::Io::State::moved) {
      received.insert(received.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(io.bytes));
      continue;
    }
    Result<> outcome;
    if (io.state == net::Io::State::would_block) {
      outcome = co_await stream.readable();
    } else if (io.state == net::Io::State::end) {
      outcome = fail(Code::reset, "the proxy ended the association");
    } else {
      outcome = fail(stream.error());
    }
    if (!outcome) {
      over(std::move(outcome));
      co_return;
    }
  }
}

net::Task<Result<>> Association::over_relay() {
  if (settings_.tls_always || !route_->next->identity.empty()) {
    co_return fail(Code::unsupported, "SOCKS5 carries datagrams in clear only", "proxy " + route_->next->proxy.text(), "the leg must be TLS",
                   "use --socks 6");
  }
  const auto deadline = handshake_deadline();
  auto taken = co_await pool_->take({}, deadline, &reaching_);
  if (!taken) co_return fail(from_proxy(std::move(taken.error()), *route_));
  if (outcome_) co_return *outcome_;
  auto& control = *taken->stream;
  stream_ = &control;
  auto relay = co_await socks5_associate(control, deadline);
  if (!relay) {
    stream_ = nullptr;
    co_return fail(from_proxy(std::move(relay.error()), *route_));
  }
  // A relay that names no address is at the proxy's own.
  if (relay->ip.is_any()) relay->ip = route_->next->proxy.ip;
  if (relay->ip.unmapped() != route_->next->proxy.ip) {
    stream_ = nullptr;
    // The guard lets own datagrams out to the proxy's address alone: to any that a proxy names they would be a way out of the node.
    co_return fail(Code::unsupported, "the proxy's relay for datagrams is at another address than the proxy", "proxy " + route_->next->proxy.text(),
                   "relay " + relay->text(), "let the proxy relay at its own address, or use --socks 6");
  }
  relay->ip = relay->ip.unmapped();
  co_await net::when_both(watch_control(control), [](Association& self, SocketAddress to, SocketAddress near) -> net::Task<void> {
    auto outcome = co_await self.over_packets(to, near);
    self.over(std::move(outcome));
  }(*this, *relay, {net::local_address(control.fd()).ip.unmapped(), 0}));
  stream_ = nullptr;
  co_return *outcome_;
}

net::Task<void> Association::watch_control(net::Stream& control) {
  for (;;) {
    const auto io = control.read_some(loop_.scratch());
    if (io.state == net::Io::State::moved) continue;
    if (io.state != net::Io::State::would_block) {
      over(fail(Code::reset, "the proxy ended the association"));
      co_return;
    }
    auto ready = co_await control.readable();
    if (!ready) co_return;
  }
}

net::Task<Result<>> Association::directly() { return over_packets({}, any_of(route_->destination.block.address.is_v6())); }

net::Task<Result<>> Association::over_packets(std::optional<SocketAddress> relay, SocketAddress near) {
  // Bound to the address that the proxy sees the control connection come from: it takes datagrams from nobody else.
  auto socket = net::udp_socket(near, {.mark = settings_.mark});
  if (!socket) co_return fail(std::move(socket.error()));
  if (outcome_) co_return *outcome_;
  net::Interest interest(loop_, socket->get());
  packets_ = &interest;
  co_await net::when_both(packet_sender(socket->get(), relay), packet_receiver(socket->get(), interest, relay));
  packets_ = nullptr;
  co_return *outcome_;
}

net::Task<void> Association::packet_sender(int fd, std::optional<SocketAddress> relay) {
  Bytes message;
  for (;;) {
    const bool more = co_await next();
    if (!more) co_return;
    const auto datagram = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= datagram.payload.size();
    message.clear();
    if (relay) {
      message.resize(socks5::datagram_header_max_bytes);
      const auto destination = asked_for(datagram.remote);
      message.resize(socks5::encode_datagram_header(socks::Target::of(destination), message));
    }
    message.insert(message.end(), datagram.payload.begin(), datagram.payload.end());
    if (net::send_datagram(fd, message, relay ? *relay : datagram.remote)) sent(datagram.payload.size());
  }
}

net::Task<void> Association::packet_receiver(int fd, net::Interest& interest, std::optional<SocketAddress> relay) {
  for (;;) {
    bool would_block = false;
    const auto got = net::receive_datagram(fd, loop_.scratch(), would_block);
    if (would_block) {
      interest.drained_read();
      auto ready = co_await interest.readable();
      if (!ready) co_return;
      continue;
    }
    if (!got) continue;  // an ICMP answer, or one that did not fit
    if (!relay) {
      arrived(got->from.ip, got->from.port, got->payload);
      continue;
    }
    if (SocketAddress{got->from.ip.unmapped(), got->from.port} != *relay) continue;
    const auto decoded = socks5::decode_datagram(got->payload);
    const auto* whole = socks::done<socks5::Datagram>(decoded);
    if (whole == nullptr || whole->message.fragment != 0) continue;
    arrived(whole->message.target.host, whole->message.target.port, whole->message.payload);
  }
}

}  // namespace epif::redirect
