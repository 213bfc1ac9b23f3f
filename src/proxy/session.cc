#include "proxy/session.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "onward/dns_service.h"
#include "onward/next_hop.h"
#include "onward/stack.h"
#include "proxy/reverse_limit.h"

namespace epif::proxy {
namespace {

using std::chrono::milliseconds;

/// A server that has the client's first bytes may answer at once (or end): then its bytes go with our reply, for one packet and
/// one wake-up less. Who sent those bytes ahead does not need the reply for them.
net::Task<bool> answers_at_once(net::Stream& upstream, bool has_all) {
  if (upstream.clear_socket() < 0) co_return false;
  if (has_all && !upstream.may_read()) {
    auto ready = co_await upstream.readable(net::Clock::now() + milliseconds(limits::reply_hold_ms));
    if (!ready) co_return false;
  }
  co_return upstream.may_read();
}

std::chrono::sys_seconds wall_clock() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

/// What this proxy does for a client of this protocol.
bool offers(const admission::ClientRequest& request) {
  switch (request.command) {
    case socks::Command::connect:
    case socks::Command::bind: return true;
    case socks::Command::noop: return request.protocol == admission::Protocol::socks6;
    default: return false;
  }
}

/// What tells the client why its request failed. A next proxy without BIND makes ours one, too; without a next one `unsupported`
/// is the address.
socks::Reply reply_to(const admission::ClientRequest& request, const Route* route, Code why) {
  const bool next_cannot = why == Code::unsupported && request.command == socks::Command::bind && route != nullptr && route->next &&
                           !request.target.is_name();
  return offers(request) && !next_cannot ? socks::reply_for(why) : socks::Reply::command_not_supported;
}

/// Nobody unknown may say anything about its way, whatever it asks for; and nobody where there is no route to confirm it.
Result<> may_say_its_way(const admission::ClientRequest& request) {
  if (!request.chain) return {};
  if (!request.known) return fail(Code::denied, "chain metadata of a client that has not shown who it is", request.target.text());
  if (request.command == socks::Command::noop) return fail(Code::denied, "chain metadata of a NOOP, which has no route");
  return {};
}

/// What a client of the socksx dialect says about its way must be what the route says.
Result<> believes(const admission::ClientRequest& request, const Route& route, const admission::Leg& leg) {
  if (!request.chain) return {};
  return admission::confirm(*request.chain, route, leg);
}

}  // namespace

Worker::Session::Session(Worker& worker, SocketAddress peer, net::Limiter::Place place) : worker_(worker), place_(std::move(place)) {
  flow_.id = worker_.next_flow_++;
  flow_.peer = peer;
  flow_.since = net::Clock::now();
  worker_.flows_.insert(&flow_);
}

Worker::Session::~Session() {
  worker_.flows_.erase(&flow_);
  // Others may have waited for its control connections.
  if (chain_) worker_.leave_soon();
}

std::string Worker::Session::source() const { return flow_.identity.empty() ? flow_.peer.ip.text() : flow_.identity; }

net::Task<Result<>> Worker::Session::secure(std::unique_ptr<net::SocketStream> socket) {
  const auto deadline = net::Clock::now() + milliseconds(limits::handshake_deadline_ms);
  const auto context = worker_.certified_.server;  // may be renewed meanwhile
  auto secured = co_await net::TlsStream::accept(std::move(socket), *context, deadline);
  if (!secured) co_return fail(std::move(secured.error()));
  flow_.identity = (*secured)->peer_identity();
  certificate_end_ = (*secured)->peer_certificate_end();
  client_ = std::move(*secured);
  co_return Result<>{};
}

net::Task<void> Worker::Session::run(Fd connection, Listener kind, Dialect dialect) {
  // Two stages, so that a connection that is relayed, perhaps for days, holds nothing of its beginning.
  if (const bool carries = co_await begin(std::move(connection), kind, dialect); !carries) {
    flow_.client = nullptr;
    co_return;
  }
  co_await carry();
}

net::Task<void> Worker::Session::run(std::unique_ptr<net::Stream> stream, Identity identity, Listener kind, Dialect dialect) {
  on_trunk_ = true;
  client_ = std::move(stream);
  flow_.identity = std::move(identity);
  const auto deadline = net::Clock::now() + milliseconds(limits::handshake_deadline_ms);
  if (const bool carries = co_await begin_request(kind, dialect, deadline, {}); !carries) {
    flow_.client = nullptr;
    co_return;
  }
  co_await carry();
}

net::Task<bool> Worker::Session::begin(Fd connection, Listener kind, Dialect dialect) {
  auto socket = std::make_unique<net::SocketStream>(worker_.loop_, std::move(connection), true);
  constexpr milliseconds handshake(limits::handshake_deadline_ms);
  auto deadline = net::Clock::now() + handshake;  // from accept on, all stages together
  std::optional<milliseconds> from_first_byte;
  if (kind == Listener::tls) {
    auto secured = co_await secure(std::move(socket));
    if (!secured) {
      refused(secured.error());
      co_return false;
    }
    // A certified client may hold connections ready, and asks when it has a flow.
    place_.handshake_over();
    deadline = net::Clock::now() + std::chrono::seconds(limits::warm_pool_idle_s * 2);
    from_first_byte = handshake;
  } else {
    client_ = std::move(socket);
  }
  const bool carries = co_await begin_request(kind, dialect, deadline, from_first_byte);
  co_return carries;
}

net::Task<bool> Worker::Session::begin_request(Listener kind, Dialect dialect, net::TimePoint deadline,
                                               std::optional<milliseconds> from_first_byte) {
  flow_.client = client_.get();
  if (worker_.stopping_) co_return false;

  auto& shared = worker_.shared_;
  const auto* users = kind == Listener::clear ? &shared.users : nullptr;
  admission::Conversation talk(*client_, {users, &shared.sessions, flow_.identity, flow_.peer.ip.unmapped(), dialect, &place_});
  auto request = co_await talk.read_request(deadline, from_first_byte);
  if (!request) {
    const bool silent = talk.empty() && request.error().code != Code::unauthenticated;
    if (silent) net::reset_on_close(client_->fd(), false);
    if (!silent && !flow_.cut_reason) {
      refused(request.error());
      co_await admission::close_after_answer(*client_);
    }
    co_return false;
  }
  place_.handshake_over();
  ++worker_.counters_.requests[static_cast<std::size_t>(request->protocol)];
  flow_.stage = Flow::Stage::deciding;
  flow_.target = request->target;
  // What else there is binds ports beside the client's own socket, which a stream of a trunk has not.
  const bool binds = request->command == socks::Command::bind || request->command == socks::Command::udp_associate;
  if (on_trunk_ && binds) request->command = static_cast<socks::Command>(0xff);  // not offered
  if (request->command == socks::Command::udp_associate && request->protocol != admission::Protocol::socks4) {
    co_await associate(talk, *request);
    co_return false;
  }
  auto opened = may_say_its_way(*request);
  if (opened && is_for_trunks(*request)) {
    opened = co_await serve_trunks(talk, *request, kind, dialect);
    if (opened) co_return false;
  } else if (opened) {
    opened = co_await open(talk, *request);
  }
  if (!opened) {
    refused(opened.error());
    if (!flow_.cut_reason) {
      const auto told = apply_stack(*request, onward::failure_facts(request->stack, request->target.is_name(), upstream_.raced));
      auto answered = co_await talk.answer(reply_to(*request, flow_.route.get(), opened.error().code), {}, told);
      if (answered) co_await admission::close_after_answer(*client_);
    }
    co_return false;
  }
  if (!upstream_.stream) {
    co_await admission::close_after_answer(*client_);
    co_return false;
  }
  flow_.stage = Flow::Stage::open;
  ++worker_.counters_.opened;
  ++worker_.counters_.routes[flow_.route->id].flows;
  early_ = talk.take_early();
  if (early_.size() <= upstream_.sent) Bytes().swap(early_);
  co_return true;
}

Result<RoutePtr> Worker::Session::decide(const admission::ClientRequest& request) const {
  if (worker_.shared_.allow_all) return worker_.open_route_;
  const Asker asker{flow_.identity, flow_.peer.ip, request.flow};
  if (request.command == socks::Command::connect) {
    auto route = worker_.routing_->find(asker, request.target, wall_clock());
    if (!route && onward::is_dns_service(request.target)) {
      return fail(Code::refused, "the DNS service is not offered", {}, route.error().text());
    }
    return route;
  }
  return worker_.routing_->find_bind(asker, expected_host(request), wall_clock());
}

Result<> Worker::Session::take_route(Result<RoutePtr> route) {
  if (!route) return fail(std::move(route.error()));
  auto place = worker_.shared_.limiter.enter_route((*route)->id, (*route)->limits.connections);
  if (!place) return fail(std::move(place.error()));
  route_place_ = std::move(*place);
  flow_.route = std::move(*route);  // from here on a change of routes reaches this flow
  worker_.follow_expiry(flow_);
  return {};
}

net::Task<Result<>> Worker::Session::open(admission::Conversation& talk, const admission::ClientRequest& request) {
  if (!offers(request)) co_return fail(Code::unsupported, fmt::format("command {} is not offered", static_cast<int>(request.command)));
  if (request.command == socks::Command::noop) {
    const auto told = apply_stack(request, onward::probed_facts(request.stack, request.target.is_name()));
    auto answered = co_await talk.answer(socks::Reply::success, {}, told);
    co_return answered;
  }
  auto routed = take_route(decide(request));
  if (!routed) co_return routed;
  if (request.flow.empty()) flow_.wish = request.command == socks::Command::bind ? Wish{true, expected_host(request)} : Wish{false, request.target};
  const bool own_leg = client_->fd() >= 0;  // a trunk's flow has no socket
  routed = believes(request, *flow_.route, {own_leg ? net::local_address(client_->fd()) : SocketAddress{}, flow_.peer.ip});
  if (!routed) co_return routed;
  if (!flow_.route->chain.empty()) {
    auto chained = co_await open_chain(request);
    if (!chained) co_return chained;
  }
  auto granted = flow_.still_granted();
  if (!granted) co_return granted;
  if (request.command == socks::Command::bind) {
    if (flow_.route->next) {
      auto relayed = co_await open_bind_next(talk, request);
      co_return relayed;
    }
    auto bound = co_await open_bind(talk, request);
    co_return bound;
  }
  auto opened = co_await open_connection(talk, request);
  co_return opened;
}

net::Task<Result<>> Worker::Session::open_connection(admission::Conversation& talk, const admission::ClientRequest& request) {
  auto connected = co_await connect(talk, request);
  if (!connected) co_return fail(std::move(connected.error()));
  auto granted = flow_.still_granted();
  if (!granted) co_return granted;
  upstream_ = std::move(*connected);
  flow_.upstream = upstream_.stream.get();
  bool more = false;
  if (!chain_) more = co_await answers_at_once(*upstream_.stream, upstream_.sent > 0 && upstream_.sent == talk.peek_early().size());
  if (request.trunk && worker_.shared_.trunking && (!chain_ || client_->clear_socket() < 0) && !on_trunk_ && !worker_.draining_) talk.consent({});
  auto answered = co_await talk.answer(socks::Reply::success, upstream_.bound, apply_stack(request), more);
  co_return answered;
}

net::Task<Result<>> Worker::Session::open_chain(const admission::ClientRequest& request) {
  const auto& route = *flow_.route;
  auto keys = connection_keys(route, worker_.routing_->table().node, flow_.identity, request,
                              worker_.shared_.keys ? &*worker_.shared_.keys : nullptr);
  if (!keys) co_return fail(std::move(keys.error()));
  keys_ = std::move(*keys);
  bridge::FlowHeader header{route.id, source(), request.target.text(), route.data, route.purpose};
  // A copy: the table may be replaced while the BFs think.
  const auto links = route.chain;
  const bool clear = client_->clear_socket() >= 0 && (!route.next || route.next->identity.empty());
  auto opened = co_await bridge::Chain::open(worker_.controls_, links, std::move(header), keys_.keys, clear);
  if (!opened) co_return fail(std::move(opened.error()));
  chain_ = std::move(*opened);
  flow_.accepted = chain_.get();
  co_return Result<>{};
}

net::Task<Result<onward::Upstream>> Worker::Session::connect(admission::Conversation& talk, const admission::ClientRequest& request) {
  if (!flow_.route->next) return connect_server(talk, request);
  const auto first = chain_ ? ByteSpan() : ByteSpan(talk.peek_early());  // the application's bytes go through the functions first
  return ask_next({request.target, flow_.route->id}, request, first);
}

net::Task<Result<onward::Upstream>> Worker::Session::ask_next(onward::NextRequest request, const admission::ClientRequest& by,
                                                                    ByteSpan first) {
  const RoutePtr route = flow_.route;
  const auto deadline = net::Clock::now() + milliseconds(limits::connect_deadline_ms);
  if (!route->next->identity.empty() && !worker_.certified_.client) {
    co_return fail(Code::unauthenticated, "the next proxy wants a certificate", route->next->proxy.text(), {},
                   "start this proxy with --cert, --key and --ca");
  }
  request.dialect = route->next->dialect;
  for (const auto& one : keys_.for_next) request.encapsulations.push_back({one.pair, one.key});
  for (const auto& option : by.stack) {
    // A backlog belongs to a session, and ours is the client's alone.
    const bool ours = socks6::leg_of(option) == socks6::Leg::client_proxy || std::holds_alternative<socks6::ListenBacklog>(option);
    if (!ours) request.stack.add(onward::on_remote_leg(option));
  }
  auto made = co_await onward::connect_next(worker_.pool_to(*route->next), std::move(request), first, flow_, deadline);
  co_return made;
}

net::Task<Result<onward::Upstream>> Worker::Session::connect_server(admission::Conversation& talk,
                                                                          const admission::ClientRequest& request) {
  const RoutePtr route = flow_.route;
  const auto deadline = net::Clock::now() + milliseconds(limits::connect_deadline_ms * 2);
  if (onward::is_dns_service(request.target)) {
    auto servers = onward::name_servers_or_system(worker_.shared_.name_servers);
    auto made = co_await onward::connect_name_server(worker_.loop_, std::move(servers), onward::remote_options(request.stack, false),
                                                     deadline);
    co_return made;
  }
  auto addresses = co_await resolve(talk, request.target);
  if (!addresses) co_return fail(std::move(addresses.error()));
  auto granted = flow_.still_granted();
  if (!granted) co_return fail(std::move(granted.error()));
  if (route->preconnect > 0 && addresses->size() == 1 && onward::served_by_any_connection(request.stack)) {
    const SocketAddress server{addresses->front(), request.target.port};
    // Where none is ready, one is made as without them, with Fast Open where that is wished.
    if (auto ready = worker_.preconnected(server, route->preconnect).take_ready()) {
      net::reset_on_close(ready->fd(), true);
      onward::Upstream made;
      made.bound = net::local_address(ready->fd());
      made.stream = std::move(ready);
      co_return made;
    }
  }
  auto first = chain_ ? ByteSpan() : ByteSpan(talk.peek_early());
  auto options = onward::remote_options(request.stack, route->replay_safe || request.token_spent);
  if (const auto* wish = request.stack.find<socks6::FastOpen>(); wish != nullptr && wish->payload_bytes != 0) {
    first = first.first(std::min<std::size_t>(first.size(), wish->payload_bytes));
  }
  options.speaks_at_once = !first.empty() && route->chain.empty();
  const auto* eyeballs = request.stack.find<socks6::HappyEyeballs>();
  const auto attempts = eyeballs != nullptr && !eyeballs->wanted ? onward::Attempts::one_by_one : onward::Attempts::race;
  // Whoever asks for the race gets it: data in a SYN would go to one address only.
  if (eyeballs != nullptr && eyeballs->wanted && addresses->size() > 1) options.fast_open = false;
  upstream_.raced = attempts == onward::Attempts::race && !options.fast_open;  // told also if it comes to nothing
  auto made = co_await onward::connect_any(worker_.loop_, std::move(*addresses), request.target.port, options, first, deadline,
                                           attempts);
  co_return made;
}

socks6::StackOptions Worker::Session::apply_stack(const admission::ClientRequest& request) const {
  if (request.stack.empty()) return {};
  if (flow_.route->next) return apply_stack(request, onward::with_denials(upstream_.stack, request.stack));
  return apply_stack(request, onward::remote_leg_facts(request.stack, upstream_, request.target.is_name()));
}

socks6::StackOptions Worker::Session::apply_stack(const admission::ClientRequest& request, const socks6::StackOptions& remote) const {
  auto facts = onward::client_leg_facts(request.stack, client_->fd());
  for (const auto& option : remote) facts.add(option);
  return facts;
}

net::Task<void> Worker::Session::carry() {
  if (chain_) {
    auto outcome = co_await carry_through_chain(false);
    if (outcome) ended(*outcome);
    co_return;
  }
  const RoutePtr route = flow_.route;  // kept, whatever happens to the table meanwhile
  const auto data = route->data;
  ReverseLimit limit(*route, data == DataDirection::push ? flow_.to_server : flow_.to_client);
  flow_.to_server.bytes = upstream_.sent;
  const auto early = ByteSpan(early_).subspan(std::min(upstream_.sent, early_.size()));
  ended(co_await net::relay({*client_, early, data == DataDirection::pull ? &limit : nullptr, &early_},
                            {*upstream_.stream, upstream_.early, data == DataDirection::push ? &limit : nullptr, &upstream_.early},
                            flow_.to_server, flow_.to_client,
                            {route->limits.idle_s != 0 ? route->limits.idle_s : limits::idle_timeout_s, limits::half_closed_timeout_s}));
}

net::Task<std::optional<Result<>>> Worker::Session::carry_through_chain(bool moved_here) {
  const RoutePtr route = flow_.route;
  bridge::ChainLimits limits;
  if (route->limits.idle_s != 0) limits.idle_s = route->limits.idle_s;
  if (route->limits.reverse_bytes != 0) {
    auto& limited = route->data == DataDirection::push ? limits.from_server_bytes : limits.from_client_bytes;
    if (route->data != DataDirection::both) limited = route->limits.reverse_bytes;
  }
  flow_.chain = chain_.get();
  watch_reverse();
  worker_.leave_soon();
  auto running = moved_here ? chain_->run_on(*client_, *upstream_.stream)
                            : chain_->run(*client_, std::move(early_), *upstream_.stream, std::move(upstream_.early), limits);
  auto report = co_await std::move(running);
  reverse_timer_.cancel();
  flow_.chain = nullptr;
  worker_.leave_soon();
  if (report.left) {
    flow_.expiry.cancel();
    flow_.client = flow_.upstream = nullptr;
    const auto socket_of = [](std::unique_ptr<net::Stream>& stream) {
      return net::SocketStream::release(std::unique_ptr<net::SocketStream>(static_cast<net::SocketStream*>(stream.release())));
    };
    worker_.let_go(flow_, {socket_of(client_), socket_of(upstream_.stream), std::move(place_), std::move(route_place_)});
    co_return std::nullopt;
  }
  flow_.to_server.bytes = report.from_client;
  flow_.to_client.bytes = report.from_server;
  for (const auto& function : report.functions) {
    log::info("proxy", "function reports",
              {{"flow", route->id}, {"function", function.function}, {"instance", function.instance},
               {"verdict", function.verdict}, {"to_server", std::to_string(function.bytes_to_server)},
               {"to_client", std::to_string(function.bytes_to_client)}, {"note", function.note}});
    for (const auto& [what, value] : function.detail) {
      log::info("proxy", "function detail", {{"flow", route->id}, {"function", function.function}, {"what", what}, {"value", value}});
    }
  }
  if (report.failure) co_return Result<>(fail(std::move(*report.failure)));
  co_return Result<>{};
}

void Worker::Session::watch_reverse() {
  // Behind functions the bytes are counted by others: compare the two directions often.
  const auto& route = *flow_.route;
  if (route.data == DataDirection::both || flow_.chain == nullptr) return;
  const auto to_server = flow_.chain->from_client();
  const auto to_client = flow_.chain->from_server();
  const bool push = route.data == DataDirection::push;
  if ((push ? to_client : to_server) > reverse_allowance(route, push ? to_server : to_client)) {
    flow_.cut(reverse_error(route));
    return;
  }
  reverse_timer_ = worker_.loop_.after(milliseconds(limits::reverse_look_ms), [this] { watch_reverse(); });
}

void Worker::Session::refused(const Error& why) const {
  worker_.counters_.refused.add(why.code);
  const auto wanted = flow_.stage == Flow::Stage::handshake ? std::string() : flow_.target.text();
  const auto* route = flow_.route.get();
  worker_.counters_.note({{}, source(), wanted, why.code, why.text(), route ? route->flow : "", route ? route->policy : ""});
  log::warn("proxy", "refused",
            {{"from", source()}, {"to", wanted.empty() ? std::string("-") : wanted},
             {"reason", std::string(epif::name(why.code))}, {"why", why.text()}});
}

void Worker::Session::ended(const Result<>& outcome) {
  flow_.expiry.cancel();
  auto& counts = worker_.counters_.routes[flow_.route->id];
  counts.to_server_bytes += flow_.to_server.bytes;
  counts.to_client_bytes += flow_.to_client.bytes;
  flow_.client = flow_.upstream = nullptr;
  if (outcome) {
    // Both ends have been passed on: what the kernel still holds may leave in its time.
    for (const auto* stream : {client_.get(), upstream_.stream.get()}) net::reset_on_close(stream->fd(), false);
    return;
  }
  const auto& why = flow_.cut_reason ? *flow_.cut_reason : outcome.error();
  worker_.counters_.ended.add(why.code);
  // A peer that resets its own connection is everyday life; what we end ourselves is news.
  const bool news = why.code != Code::reset;
  if (!news && !log::enabled(log::Level::debug)) return;
  log::write(news ? log::Level::warn : log::Level::debug, "proxy", "flow cut",
             {{"route", flow_.route->id}, {"from", source()}, {"to", flow_.target.text()},
              {"reason", std::string(epif::name(why.code))}, {"why", why.text()},
              {"to_server", std::to_string(flow_.to_server.bytes)}, {"to_client", std::to_string(flow_.to_client.bytes)}});
}

}  // namespace epif::proxy
