#include "redirect/dns.h"

#include <sys/socket.h>

#include "base/limits.h"

namespace epif::redirect {
namespace {

net::TimePoint deadline() { return net::Clock::now() + std::chrono::milliseconds(limits::dns_deadline_ms); }

/// A message over TCP: two bytes of length before it (RFC 1035 4.2.2).
Bytes framed(ByteSpan message) {
  Bytes out(2);
  store_u16(out.data(), static_cast<std::uint16_t>(message.size()));
  out.insert(out.end(), message.begin(), message.end());
  return out;
}

/// The next framed message; empty at an orderly end.
net::Task<Result<Bytes>> read_framed(net::Stream& from, Bytes& received, net::TimePoint until) {
  for (;;) {
    if (received.size() >= 2) {
      const std::size_t length = load_u16(received.data());
      if (received.size() >= 2 + length) {
        Bytes message(received.begin() + 2, received.begin() + static_cast<std::ptrdiff_t>(2 + length));
        received.erase(received.begin(), received.begin() + static_cast<std::ptrdiff_t>(2 + length));
        co_return message;
      }
    }
    std::array<std::uint8_t, 2048> part;
    auto got = co_await net::read_more(from, part, until);
    if (!got) co_return fail(std::move(got.error()));
    if (*got == 0) co_return Bytes{};
    received.insert(received.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(*got));
  }
}

}  // namespace

Dns::Dns(net::Loop& loop, const Settings& settings, Stats& counts, const std::shared_ptr<const Routes>& routes, Datagrams& datagrams,
         OnConnection carry, OnRefusal on_refusal)
    : loop_(loop), settings_(settings), counts_(counts), datagrams_(datagrams), carry_(std::move(carry)), on_refusal_(std::move(on_refusal)) {
  apply(routes);
}

void Dns::hear(std::vector<Fd> datagram_sockets, std::vector<Fd> listeners) {
  for (auto& socket : datagram_sockets) {
    ears_.push_back(std::make_unique<net::DatagramEar>(loop_, std::move(socket), [this](const net::Received& got) { heard(got); }));
  }
  for (auto& listener : listeners) {
    acceptors_.push_back(std::make_unique<net::Acceptor>(
        loop_, std::move(listener), [this](Fd connection, SocketAddress client) { accepted(std::move(connection), client); }));
  }
}

Dns::~Dns() { assert(running_ == 0); }

void Dns::apply(std::shared_ptr<const Routes> routes) {
  names_ = routes->names();
  protected_ = routes->targets();
}

bool Dns::is_protected(const SocketAddress& resolver) const {
  const auto covers = [&](const CaptureTarget& target) {
    return target.block.contains(resolver.ip.unmapped()) && target.ports.contains(resolver.port);
  };
  return std::ranges::any_of(protected_, covers) && std::ranges::none_of(settings_.excluded, covers);
}

Bytes Dns::own_answer(ByteSpan query) {
  const auto question = read_question(query);
  if (!question) return {};
  const auto known = names_.find(question->name);
  if (known == names_.end()) return {};
  ++counts_.dns_answered;
  return dns_answer(query, *question, known->second);
}

Result<net::Limiter::Place> Dns::place_for(const SocketAddress& client, bool of_this_node) {
  // The part of all forwarded hosts, then a source's own, then what all share: the first that is used up is told.
  net::Limiter::Place place;
  if (!of_this_node) {
    if (forwarded_ >= Forwarded::questions_of_a_thread) {
      ++counts_.shed_forwarded_questions;
      return fail(Code::limit, "too many DNS questions of forwarded hosts wait", client.text());
    }
    auto entered = settings_.forwarded->questions.enter(client.ip);
    if (!entered) return entered;
    place = std::move(*entered);
  }
  if (running_ < limits::dns_queries) return place;
  ++counts_.shed_questions;
  return fail(Code::limit, "too many DNS questions wait", client.text());
}

void Dns::begins(const net::Limiter::Place& place) {
  ++running_;
  forwarded_ += place ? 1 : 0;
}

void Dns::ends(const net::Limiter::Place& place) {
  --running_;
  forwarded_ -= place ? 1 : 0;
}

void Dns::accepted(Fd connection, SocketAddress client) {
  const auto local = net::local_address(connection.get());
  const auto resolver = net::original_destination(connection.get(), local);
  // A resolver behind the proxy is a server as any other. (Programs ask over TCP after an answer that was cut short, and ours
  // never are.)
  if (resolver && is_protected(*resolver)) return carry_(std::move(connection), client);
  if (!resolver || resolver->port != 53) return;
  const bool of_this_node = local.ip.is_loopback();  // as in Worker::wanted_by
  auto place = place_for(client, of_this_node);
  if (!place) {
    ++counts_.dns_refused;
    return on_refusal_(client, *resolver, place.error(), of_this_node);
  }
  net::spawn(serve(std::move(connection), *resolver, std::move(*place)));
}

void Dns::heard(const net::Received& got) {
  if (ended_ || got.destination.port != 53) return;  // nobody's question that was captured
  if (const auto answer = own_answer(got.payload); !answer.empty()) return datagrams_.answer(got.destination, got.from, answer);
  if (is_protected(got.destination)) return datagrams_.take(got);
  auto place = place_for(got.from, got.over_loopback);
  if (!place) {
    ++counts_.dns_refused;
    on_refusal_(got.from, got.destination, place.error(), got.over_loopback);
    if (const auto question = read_question(got.payload)) datagrams_.answer(got.destination, got.from, dns_refusal(got.payload, *question));
    return;
  }
  net::spawn(pass_on(got.from, got.destination, Bytes(got.payload.begin(), got.payload.end()), std::move(*place)));
}

net::Task<void> Dns::pass_on(SocketAddress client, SocketAddress resolver, Bytes query, net::Limiter::Place place) {
  auto socket = net::udp_socket({resolver.ip.is_v6() ? *IpAddress::parse("::") : IpAddress(), 0}, {.mark = settings_.mark});
  if (!socket || !net::send_datagram(socket->get(), query, resolver)) {
    ++counts_.dns_refused;
    co_return;
  }
  ++counts_.dns_passed_on;
  begins(place);
  net::Interest interest(loop_, socket->get());
  waiting_.insert(&interest);
  const auto until = deadline();
  for (;;) {
    bool would_block = false;
    const auto got = net::receive_datagram(socket->get(), loop_.scratch(), would_block);
    // Only the one that was asked may answer, and only what was asked.
    if (got && got->from == resolver && got->payload.size() >= 2 && query.size() >= 2 &&
        load_u16(got->payload.data()) == load_u16(query.data())) {
      datagrams_.answer(resolver, client, got->payload);
      break;
    }
    if (!would_block) continue;
    interest.drained_read();
    auto ready = co_await interest.readable(until);
    if (!ready) break;
  }
  waiting_.erase(&interest);
  ends(place);
}

net::Task<void> Dns::serve(Fd connection, SocketAddress resolver, net::Limiter::Place place) {
  begins(place);
  net::SocketStream client(loop_, std::move(connection));
  streams_.insert(&client);
  net::Cancel cancel;
  reaching_.insert(&cancel);
  Bytes received;
  while (!ended_) {
    auto query = co_await read_framed(client, received, deadline());
    if (!query || query->empty()) break;
    auto answer = own_answer(*query);
    if (answer.empty()) {
      auto passed = co_await pass_on_stream(resolver, *query, cancel);
      if (passed) {
        answer = std::move(*passed);
      } else if (const auto question = read_question(*query)) {
        ++counts_.dns_refused;
        answer = dns_refusal(*query, *question);
      } else {
        break;
      }
    }
    const auto message = framed(answer);
    auto written = co_await net::write_all(client, message, deadline());
    if (!written) break;
  }
  net::reset_on_close(client.fd(), false);
  reaching_.erase(&cancel);
  streams_.erase(&client);
  ends(place);
}

net::Task<Result<Bytes>> Dns::pass_on_stream(SocketAddress resolver, Bytes query, net::Cancel& cancel) {
  ++counts_.dns_passed_on;
  const auto until = deadline();
  net::ConnectOptions options;
  options.mark = settings_.mark;
  options.cancel = &cancel;
  auto connected = co_await net::connect(loop_, resolver, options, {}, until);
  if (!connected) co_return fail(std::move(connected.error()));
  auto& stream = *connected->stream;
  const net::Cancel::Stage stage(&cancel, stream);
  const auto message = framed(query);
  auto written = co_await net::write_all(stream, message, until);
  if (!written) co_return fail(std::move(written.error()));
  Bytes received;
  auto answer = co_await read_framed(stream, received, until);
  if (answer && answer->empty()) co_return fail(Code::reset, "the resolver does not answer");
  co_return answer;
}

void Dns::stop_hearing() {
  ears_.clear();
  acceptors_.clear();
}

void Dns::end_all(const Error& reason) {
  ended_ = true;
  stop_hearing();
  for (auto* interest : waiting_) interest->fail(reason);
  for (auto* stream : streams_) stream->abort(reason);
  for (auto* cancel : reaching_) cancel->cancel(reason);
}

}  // namespace epif::redirect
