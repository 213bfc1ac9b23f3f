#include "base/log.h"
#include "redirect/capture.h"
#include "redirect/worker.h"

// One captured connection from accept to its end.
namespace epif::redirect {
namespace {

net::RelayTimes times(const Route& route) {
  return {route.limits.idle_s != 0 ? route.limits.idle_s : limits::idle_timeout_s, limits::half_closed_timeout_s};
}

Destination asked_for(const Flow& flow) {
  // A named destination: the address is only this node's alias for it.
  if (!flow.route->name.empty()) return {flow.route->name, flow.destination.port};
  return {flow.destination.ip, flow.destination.port};
}

/// Writes what `to` takes at once; gives the rest.
Result<ByteSpan> write_now(net::Stream& to, ByteSpan bytes) {
  while (!bytes.empty()) {
    const auto io = to.write_some(bytes);
    if (io.state == net::Io::State::would_block) break;
    if (io.state != net::Io::State::moved) return fail(Code::reset, "the client broke the connection");
    bytes = bytes.subspan(io.bytes);
  }
  return bytes;
}

}  // namespace

const net::StandInMaps::Origin* Worker::origin_of(const SocketAddress& local) {
  if (!settings_.stand_ins || !net::is_stand_in(local.ip)) return nullptr;
  const auto known = origins_.find(local.ip);
  if (known != origins_.end()) return &known->second;
  const auto told = settings_.stand_ins->origin(local);
  return told ? &origins_.emplace(local.ip, *told).first->second : nullptr;
}

std::optional<SocketAddress> Worker::wanted_by(Flow& flow, int connection) {
  const auto local = net::local_address(connection);
  // Forwarded connections keep their destination as this end's address; the node's own were redirected to loopback.
  flow.of_this_node = local.ip.is_loopback();
  if (const auto* led = origin_of(local)) {
    ++counts_.led;
    flow.led = true;
    flow.client_sees = local;
    if (flow.client.ip.is_loopback()) flow.client.ip = led->source;
    return led->destination;
  }
  if (!flow.of_this_node) net::pace_as_node(connection);
  auto wanted = net::original_destination(connection, local);
  if (!wanted) return {};
  flow.client_sees = *wanted;
  return *wanted;
}

net::Task<Result<>> Worker::carry(Flow& flow, Fd connection) {
  const auto wanted = wanted_by(flow, connection.get());
  net::SocketStream client(loop_, std::move(connection), true);
  flow.client_stream = &client;
  // Hardly ever have the first bytes come with the connection; if so, their event is there already.
  if (settings_.first_bytes_wait_ms > 0) client.await_bytes();
  auto upstream = co_await begin(flow, client, wanted);
  Result<> outcome;
  if (upstream && settings_.stand_ins && flow.of_this_node && !flow.led) settings_.stand_ins->learn(flow.destination);
  if (!upstream) {
    outcome = fail(std::move(upstream.error()));
  } else if (!flow.cut) {
    const auto early = begin_relay(flow, client, *upstream);
    if (early) {
      const auto relay_times = times(*flow.route);
      outcome = co_await net::relay({client}, {*upstream->stream, *early}, flow.sent, flow.received, relay_times);
    } else {
      outcome = fail(early.error());
    }
  }
  if (outcome && flow.cut) outcome = fail(*flow.cut);
  if (outcome) {
    // Both ends are through: what is still on its way must get there.
    net::reset_on_close(client.fd(), false);
    net::reset_on_close(upstream->stream->fd(), false);
  } else {
    client.abort(outcome.error());
    if (upstream) upstream->stream->abort(outcome.error());
  }
  flow.client_stream = nullptr;
  flow.proxy_stream = nullptr;
  co_return outcome;
}

Result<> Worker::take_place(Flow& flow) {
  // What a source has too much of is told before it takes from what all share.
  if (!flow.of_this_node) {
    auto place = settings_.forwarded->connections.enter(flow.client.ip);
    if (!place) return fail(std::move(place.error()));
    flow.place = std::move(*place);
    if (++forwarded_ > Forwarded::part_of(settings_.max_flows_per_thread())) {
      ++counts_.shed_forwarded;
      return fail(Code::limit, "too many connections of forwarded hosts", flow.destination.text());
    }
  }
  if (flows_.size() <= settings_.max_flows_per_thread()) return {};
  ++counts_.shed;
  return fail(Code::limit, "too many connections", flow.destination.text());
}

net::Task<Result<Worker::Upstream>> Worker::begin(Flow& flow, net::Stream& client, std::optional<SocketAddress> wanted) {
  if (!wanted || (wanted->port == settings_.listen_port && wanted->ip.is_loopback())) {
    co_return fail(Code::denied, "a connection to the redirector itself has no destination", flow.client.text());
  }
  flow.destination = *wanted;
  if (auto room = take_place(flow); !room) co_return fail(std::move(room.error()));
  // Register (done by the caller), check, forward: a change of routes from here on finds this flow.
  flow.routes = routes_;
  const auto route = find_route(flow, *flow.routes);
  if (!route) co_return fail(route.error());
  flow.route = *route;
  auto initial = co_await first_bytes(flow, client);
  if (!initial) co_return fail(std::move(initial.error()));
  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms);
  const auto sent = initial->size();
  auto upstream = co_await reach(flow, std::move(*initial), deadline);
  if (upstream) flow.sent.bytes += sent;
  co_return upstream;
}

Result<ByteSpan> Worker::begin_relay(Flow& flow, net::Stream& client, Upstream& upstream) {
  auto rest = write_now(client, upstream.early);
  if (!rest) return rest;
  flow.received.bytes += upstream.early.size() - rest->size();
  if (rest->empty()) Bytes().swap(upstream.early);  // an idle connection holds no buffer
  flow.proxy_stream = upstream.stream.get();
  flow.relaying = true;
  flow.place.handshake_over();
  return rest;
}

net::Task<Result<Bytes>> Worker::first_bytes(Flow& flow, net::Stream& client) {
  if (server_speaks_first(flow.destination.port)) co_return Bytes{};
  const auto until = net::Clock::now() + std::chrono::milliseconds(settings_.first_bytes_wait_ms);
  for (;;) {
    const auto buffer = loop_.scratch().first(limits::socks6_initial_data_max_bytes);
    const auto io = client.read_some(buffer);
    if (io.state == net::Io::State::moved) co_return Bytes(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(io.bytes));
    if (io.state == net::Io::State::end) co_return Bytes{};
    if (io.state == net::Io::State::failed) co_return fail(client.error());
    if (settings_.first_bytes_wait_ms == 0) co_return Bytes{};
    auto ready = co_await client.readable(until);
    if (!ready && ready.error().code == Code::timeout && !flow.cut) co_return Bytes{};
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

net::Task<Result<Worker::Upstream>> Worker::reach(Flow& flow, Bytes initial, net::TimePoint deadline) {
  if (flow.route->next) return reach_by_proxy(flow, std::move(initial), deadline);
  return reach_directly(flow, std::move(initial), deadline);
}

net::Task<Result<Worker::Upstream>> Worker::reach_directly(Flow& flow, Bytes initial, net::TimePoint deadline) {
  net::ConnectOptions options;
  options.mark = settings_.mark;
  options.cancel = &flow.reaching;
  options.speaks_at_once = !initial.empty();
  options.fast_open = flow.route->replay_safe;  // data in a SYN may be replayed: only the route can allow it
  auto connected = co_await net::connect(loop_, flow.destination, options, initial, deadline);
  if (!connected) co_return fail(std::move(connected.error()));
  if (flow.cut) co_return fail(*flow.cut);
  net::reset_on_close(connected->stream->fd(), true);
  const net::Cancel::Stage stage(&flow.reaching, *connected->stream);
  auto sent = co_await net::write_all(*connected->stream, ByteSpan(initial).subspan(connected->sent), deadline);
  if (!sent) co_return fail(std::move(sent.error()));
  co_return Upstream{std::move(connected->stream), {}};
}

Result<Worker::Request> Worker::request_for(const Flow& flow, Bytes initial, bool asks) const {
  Request made{asked_for(flow), {}, {}, 0};
  if (settings_.socks != 6) {
    made.initial = std::move(initial);
    return made;
  }
  Wish wish{made.destination, flow.route->id, settings_.fast_open || flow.route->replay_safe, settings_.user ? &*settings_.user : nullptr};
  if (asks) wish.trunk.emplace();
  auto message = socks6_request(wish, settings_.false_start ? ByteSpan(initial) : ByteSpan());
  if (!message) return fail(std::move(message.error()));
  made.message = std::move(*message);
  // The program's bytes only where the route says that they may be said twice.
  const auto said = settings_.false_start ? initial.size() : 0;
  made.repeatable = made.message.size() - (flow.route->replay_safe ? 0 : said);
  if (!settings_.false_start) made.initial = std::move(initial);
  return made;
}

net::Task<Result<Bytes>> Worker::ask_proxy(net::Stream& stream, const Request& request, std::size_t sent, net::TimePoint deadline,
                                           bool& offers_trunk) {
  Result<Bytes> early;
  std::optional<socks6::TrunkOption> trunk;
  if (settings_.socks == 6) {
    auto done = co_await net::write_all(stream, ByteSpan(request.message).subspan(sent), deadline);
    if (!done) co_return fail(std::move(done.error()));
    early = co_await socks6_replies(stream, deadline, &trunk);
  } else {
    early = co_await socks5_connect(stream, request.destination, deadline);
  }
  if (!early) co_return early;
  offers_trunk = trunk.has_value();
  auto done = co_await net::write_all(stream, request.initial, deadline);
  if (!done) co_return fail(std::move(done.error()));
  co_return early;
}

net::Task<Result<Worker::Upstream>> Worker::reach_by_proxy(Flow& flow, Bytes initial, net::TimePoint deadline) {
  const auto next = *flow.route->next;
  const auto route = flow.route->id;
  auto* trunks = proxy(next).trunks.get();
  auto stream = trunks != nullptr ? trunks->open(route) : nullptr;
  const bool on_trunk = stream != nullptr;
  const bool asks = trunks != nullptr && !on_trunk && trunks->asks(route);
  auto request = request_for(flow, std::move(initial), asks);
  if (!request) co_return fail(std::move(request.error()));
  std::size_t sent = 0;
  if (!on_trunk) {
    // The route may be replaced by a reload while this waits: nothing below looks at it.
    auto taken = co_await proxy(next).pool->take(ByteSpan(request->message).first(request->repeatable), deadline, &flow.reaching);
    if (!taken) co_return fail(std::move(taken.error()));
    if (flow.cut) co_return fail(*flow.cut);  // revoked while the connection was made: nothing was sent
    stream = std::move(taken->stream);
    sent = taken->sent;
    net::reset_on_close(stream->fd(), true);
  }
  flow.proxy_stream = stream.get();
  const auto asked_at = loop_.now();
  bool offered = false;
  auto early = co_await ask_proxy(*stream, *request, sent, deadline, offered);
  flow.proxy_stream = nullptr;
  if (!early) {
    if (on_trunk && early.error().code == Code::timeout && !flow.cut) {
      const auto found = proxies_.find({next.proxy, next.identity});
      if (found != proxies_.end() && found->second.trunks) found->second.trunks->doubt(asked_at);
    }
    auto error = std::move(early.error());
    if (error.where.empty()) error.where = "proxy " + next.proxy.text();
    co_return fail(std::move(error));
  }
  if (flow.cut) co_return fail(*flow.cut);
  if (asks) {
    // Asked for again: the routes may have changed meanwhile.
    const auto found = proxies_.find({next.proxy, next.identity});
    if (found != proxies_.end() && found->second.trunks) found->second.trunks->answered(route, offered);
  }
  note_leg(next.proxy, stream->fd());
  co_return Upstream{std::move(stream), std::move(*early)};
}

void Worker::note_leg(const SocketAddress& proxy, int fd) {
  if (!settings_.multipath) return;
  if (net::speaks_multipath(fd)) {
    ++counts_.legs_multipath;
    fallen_back_.erase(proxy);
    return;
  }
  ++counts_.legs_fallen_back;
  if (!fallen_back_.insert(proxy).second) return;
  log::warn("redirect", "the leg to the proxy is TCP, not MPTCP: losing its link ends it",
            {{"proxy", proxy.text()}, {"advice", "start the proxy with --mptcp; sysctl net.mptcp.enabled must be 1 at both"}});
}

}  // namespace epif::redirect
