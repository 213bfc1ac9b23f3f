#include "base/limits.h"
#include "onward/next_hop.h"
#include "onward/stack.h"
#include "proxy/session.h"
#include "proxy/waiting.h"

namespace epif::proxy {
namespace {

/// What is told about the client's stack options: by the next proxy about its leg to the peer, by us about the other. A backlog
/// is not granted here.
socks6::StackOptions told(const admission::ClientRequest& request, const socks6::StackOptions& by_next, int client_fd) {
  auto facts = onward::client_leg_facts(request.stack, client_fd);
  for (const auto& option : by_next) facts.add(option);
  return onward::with_denials(std::move(facts), request.stack);
}

}  // namespace

net::Task<Result<>> Worker::Session::open_bind_next(admission::Conversation& talk, const admission::ClientRequest& request) {
  auto at = wanted_port(request);
  if (!at) co_return fail(std::move(at.error()));
  const RoutePtr route = flow_.route;
  onward::NextRequest next{{at->ip, at->port}, route->id};
  next.command = socks::Command::bind;
  next.expected_peer = expected_host(request);
  auto made = co_await ask_next(std::move(next), request, {});
  if (!made) co_return fail(std::move(made.error()));
  auto granted = flow_.still_granted();
  if (!granted) co_return granted;
  upstream_ = std::move(*made);
  flow_.upstream = upstream_.stream.get();
  auto served = co_await serve_next_port(talk, request);
  if (!served) {
    upstream_.stream->abort(served.error());  // the port closes with it
    flow_.upstream = nullptr;
    upstream_.stream.reset();
  }
  co_return served;
}

net::Task<Result<>> Worker::Session::serve_next_port(admission::Conversation& talk, const admission::ClientRequest& request) {
  const RoutePtr route = flow_.route;
  auto bound = upstream_.bound;
  if (bound.ip.is_any()) bound.ip = route->next->proxy.ip;  // one that listens on all of its addresses
  auto answered = co_await talk.answer(socks::Reply::success, bound, told(request, upstream_.stack, client_->fd()));
  if (!answered) co_return answered;
  // The next proxy keeps the deadline of its own; its word of that needs its time.
  const auto deadline = net::Clock::now() + worker_.shared_.bind_deadline + std::chrono::milliseconds(limits::connect_deadline_ms);
  SecondReply second;
  co_await net::when_both(await_second(second, deadline), hold_client(talk, second, deadline));
  auto granted = flow_.still_granted();
  if (!granted) co_return granted;
  if (!second.outcome) co_return std::move(second.outcome);
  // A next proxy that does not know our option lets in whom its own route permits.
  ExpectedPeer expected;
  expected.block = route->destination.block;
  const auto host = expected_host(request);
  if (const auto* ip = host ? std::get_if<IpAddress>(&host->host) : nullptr) expected.hosts = {*ip};
  if (!expected.admits(upstream_.bound.ip)) {
    ++worker_.counters_.bind_turned_away;
    co_return fail(Code::denied, "a host that is not expected connected to the next proxy", upstream_.bound.text());
  }
  flow_.target = {upstream_.bound.ip, upstream_.bound.port};
  answered = co_await talk.answer(socks::Reply::success, upstream_.bound, told(request, upstream_.stack, client_->fd()));
  co_return answered;
}

net::Task<void> Worker::Session::await_second(SecondReply& second, net::TimePoint deadline) {
  auto outcome = co_await onward::read_next_reply(upstream_, deadline);
  if (second.outcome) second.outcome = std::move(outcome);
  second.there = true;
  client_->nudge_reader();
}

net::Task<void> Worker::Session::hold_client(admission::Conversation& talk, SecondReply& second, net::TimePoint deadline) {
  const Waiting waiting(worker_.counters_);
  while (!second.there) {
    auto waited = co_await talk.wait_with_client(deadline, limits::bind_early_max_bytes);
    if (waited || second.there) continue;
    second.outcome = fail(waited.error());
    upstream_.stream->abort(std::move(waited.error()));
    co_return;
  }
}

}  // namespace epif::proxy
