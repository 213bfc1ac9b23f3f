#include <fcntl.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "base/limits.h"
#include "onward/stack.h"
#include "proxy/session.h"
#include "proxy/waiting.h"

namespace epif::proxy {
namespace {

/// While a control connection lives, further BINDs of its session find the port. Afterwards those that wait on it notice.
class KeptPort {
 public:
  KeptPort(std::shared_ptr<admission::ClientSession> session, std::shared_ptr<const admission::SharedListener> listener)
      : session_(std::move(session)), listener_(std::move(listener)) {
    session_->add_listener(listener_);
  }
  ~KeptPort() {
    session_->remove_listener(*listener_);
    ::shutdown(listener_->socket.get(), SHUT_RDWR);
  }
  KeptPort(const KeptPort&) = delete;
  KeptPort& operator=(const KeptPort&) = delete;

 private:
  std::shared_ptr<admission::ClientSession> session_;
  std::shared_ptr<const admission::SharedListener> listener_;
};

/// The backlog that the request gets: none outside of a session (draft-12, "Listen Backlog options").
std::uint16_t granted_backlog(const admission::ClientRequest& request) {
  const auto* wish = request.stack.find<socks6::ListenBacklog>();
  return wish == nullptr || !request.session ? 0 : std::min(wish->connections, limits::bind_backlog_max);
}

}  // namespace

std::optional<Destination> expected_host(const admission::ClientRequest& request) {
  // The draft names the address to listen on instead.
  if (request.protocol == admission::Protocol::socks6) return request.expected_peer;
  const auto* ip = std::get_if<IpAddress>(&request.target.host);
  if (ip != nullptr && ip->is_any()) return std::nullopt;
  return request.target;
}

net::Task<Result<ExpectedPeer>> Worker::Session::expected_peer(admission::Conversation& talk, const admission::ClientRequest& request) {
  ExpectedPeer made;
  made.block = flow_.route->destination.block;
  const auto host = expected_host(request);
  if (!host) co_return made;
  auto hosts = co_await resolve(talk, *host);
  if (!hosts) co_return fail(std::move(hosts.error()));
  made.hosts = std::move(*hosts);
  co_return made;
}

Result<SocketAddress> Worker::Session::wanted_port(const admission::ClientRequest& request) const {
  if (request.protocol != admission::Protocol::socks6) return SocketAddress{};
  const auto* ip = std::get_if<IpAddress>(&request.target.host);
  if (ip == nullptr) return fail(Code::unsupported, "BIND to a name", request.target.text());
  if (request.target.port != 0 && request.target.port < limits::bind_port_min && !worker_.shared_.allow_all) {
    return fail(Code::denied, "BIND to a port below 1024", request.target.text());
  }
  return SocketAddress{*ip, request.target.port};
}

Result<OpenPort> Worker::Session::bind_port(const admission::ClientRequest& request, const ExpectedPeer& expected, int backlog) const {
  auto options = onward::listener_options(request.stack);
  options.backlog = std::max(1, backlog);
  auto at = wanted_port(request);
  if (!at) return fail(std::move(at.error()));
  if (expected.hosts.empty() || !at->ip.is_any()) return open_port(*at, net::local_address(client_->fd()).ip, options);
  const auto towards = address_towards(expected.hosts.front());
  if (!towards) return fail(towards.error());
  // Only an address that the expected host uses; both families only if its name has both.
  const bool one_family = std::ranges::all_of(expected.hosts, [&](const IpAddress& host) { return host.is_v6() == towards->is_v6(); });
  if (one_family) at->ip = *towards;
  return open_port(*at, *towards, options);
}

net::Task<Result<>> Worker::Session::open_bind(admission::Conversation& talk, const admission::ClientRequest& request) {
  auto expected = co_await expected_peer(talk, request);
  if (!expected) co_return fail(std::move(expected.error()));
  const auto* at = std::get_if<IpAddress>(&request.target.host);
  const auto shared = request.session && at != nullptr ? request.session->listener_at({*at, request.target.port}) : nullptr;
  if (shared) {
    if (shared->route != flow_.route->id) co_return fail(Code::denied, "the port was opened for another route", shared->bound.text());
    OpenPort copy{Fd(::fcntl(shared->socket.get(), F_DUPFD_CLOEXEC, 0)), shared->bound};
    if (!copy.socket) co_return fail(system_error(errno, "cannot wait on the port", shared->bound.text()));
    auto served = co_await serve_port(talk, request, std::move(copy), std::move(*expected));
    co_return served;
  }
  const auto backlog = granted_backlog(request);
  auto port = bind_port(request, *expected, backlog);
  if (!port) co_return fail(std::move(port.error()));
  if (backlog > 0) {
    auto kept = co_await keep_port(talk, request, std::move(*port), backlog);
    co_return kept;
  }
  auto served = co_await serve_port(talk, request, std::move(*port), std::move(*expected));
  co_return served;
}

net::Task<Result<>> Worker::Session::await_peer(admission::Conversation& talk, PeerListener& listener) {
  const Waiting waiting(worker_.counters_);
  const auto deadline = net::Clock::now() + worker_.shared_.bind_deadline;
  for (;;) {
    auto granted = flow_.still_granted();
    if (!granted) co_return granted;
    if (listener.ready()) co_return Result<>{};
    if (listener.gone()) co_return fail(Code::truncated, "the port was closed by the connection that opened it");
    auto waited = co_await talk.wait_with_client(deadline, limits::bind_early_max_bytes);
    if (!waited) co_return waited;
  }
}

net::Task<Result<>> Worker::Session::serve_port(admission::Conversation& talk, const admission::ClientRequest& request, OpenPort port, ExpectedPeer expected) {
  const auto facts = onward::client_leg_facts(request.stack, client_->fd());
  auto told = onward::listener_facts(request.stack, port.socket.get(), 0);
  for (const auto& fact : facts) told.add(fact);
  PeerListener listener(std::move(port.socket), std::move(expected), *client_);
  auto answered = co_await talk.answer(socks::Reply::success, port.bound, told);
  if (!answered) co_return answered;
  auto there = co_await await_peer(talk, listener);
  worker_.counters_.bind_turned_away += listener.turned_away();
  if (!there) co_return there;
  auto peer = *listener.take();
  net::reset_on_close(peer.connection.get(), true);
  onward::set_remote(request.stack, peer.connection.get());
  flow_.target = {peer.address.ip, peer.address.port};
  upstream_.stream = std::make_unique<net::SocketStream>(worker_.loop_, std::move(peer.connection));
  upstream_.bound = peer.address;
  flow_.upstream = upstream_.stream.get();
  told = onward::remote_leg_facts(request.stack, upstream_, false);
  for (const auto& fact : facts) told.add(fact);
  answered = co_await talk.answer(socks::Reply::success, peer.address, told);
  if (!answered) upstream_.stream.reset(), flow_.upstream = nullptr;
  co_return answered;
}

net::Task<Result<>> Worker::Session::keep_port(admission::Conversation& talk, const admission::ClientRequest& request, OpenPort port, std::uint16_t backlog) {
  auto told = onward::listener_facts(request.stack, port.socket.get(), backlog);
  for (const auto& fact : onward::client_leg_facts(request.stack, client_->fd())) told.add(fact);
  const auto bound = port.bound;
  const KeptPort kept(request.session,
                      std::make_shared<const admission::SharedListener>(admission::SharedListener{std::move(port.socket), bound, flow_.route->id}));
  auto answered = co_await talk.answer(socks::Reply::success, bound, told);
  if (!answered) co_return answered;
  const Waiting waiting(worker_.counters_);
  const auto end = net::Clock::now() + std::chrono::seconds(limits::session_life_s);
  for (;;) {
    auto granted = flow_.still_granted();
    if (!granted) co_return granted;
    auto waited = co_await talk.wait_with_client(end, limits::bind_early_max_bytes);
    if (!waited) break;
  }
  // The client closed its handle: what it asked for is done.
  auto granted = flow_.still_granted();
  co_return granted;
}

}  // namespace epif::proxy
