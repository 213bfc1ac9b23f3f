#include "proxy/peer_listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"

namespace epif::proxy {

bool ExpectedPeer::admits(const IpAddress& host) const {
  const auto plain = host.unmapped();
  if (block.prefix != 0 && !block.contains(plain)) return false;
  return hosts.empty() || std::ranges::any_of(hosts, [&](const IpAddress& one) { return one.unmapped() == plain; });
}

Result<IpAddress> address_towards(const IpAddress& host) {
  constexpr std::uint16_t any_port = 9;  // a datagram socket's connect() looks up the way and sends nothing
  sockaddr_storage storage{};
  const auto length = net::to_sockaddr({host, any_port}, storage);
  const Fd probe(::socket(host.is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe || ::connect(probe.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail(system_error(errno, "no way to the host that is expected", host.text()));
  }
  return net::local_address(probe.get()).ip;
}

Result<OpenPort> open_port(SocketAddress at, const IpAddress& told, net::ListenOptions options) {
  const bool any = at.ip.is_any();
  if (any) {
    options.dual_stack = true;
    at.ip = *IpAddress::parse("::");
  }
  auto socket = net::listen(at, options);
  if (!socket && any) socket = net::listen({IpAddress{}, at.port}, options);
  if (!socket) return fail(std::move(socket.error()));
  const auto port = net::local_address(socket->get()).port;
  return OpenPort{std::move(*socket), {any ? told.unmapped() : at.ip, port}};
}

struct PeerListener::State {
  Fd socket;
  ExpectedPeer expected;
  net::Stream& client;
  net::Interest interest;
  std::optional<Peer> peer{};
  std::uint64_t turned_away = 0;
  bool gone = false;
  bool closed = false;

  State(Fd listening, ExpectedPeer who, net::Stream& nudged)
      : socket(std::move(listening)), expected(std::move(who)), client(nudged), interest(nudged.loop(), socket.get()) {}

  /// One connection out of the queue. False when there is none now.
  bool accept_one() {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    Fd connection(::accept4(socket.get(), reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection) {
      if (errno == EINVAL || errno == EBADF) gone = true;
      return errno == ECONNABORTED || errno == EINTR;
    }
    const auto from = net::from_sockaddr(storage);
    if (expected.admits(from.ip)) {
      peer = Peer{std::move(connection), {from.ip.unmapped(), from.port}};
    } else {
      net::reset_socket(connection.get());
      ++turned_away;
    }
    return true;
  }
};

PeerListener::PeerListener(Fd socket, ExpectedPeer expected, net::Stream& client)
    : state_(std::make_shared<State>(std::move(socket), std::move(expected), client)) {
  net::spawn(watch(state_));
}

PeerListener::~PeerListener() {
  state_->closed = true;
  state_->interest.fail({Code::internal, "the port is closed"});
}

net::Task<void> PeerListener::watch(std::shared_ptr<State> state) {
  while (!state->closed && !state->peer && !state->gone) {
    auto ready = co_await state->interest.readable();
    if (!ready || state->closed) co_return;
    errno = 0;
    while (!state->peer && state->accept_one()) {
    }
    if (state->peer || state->gone) break;
    const bool starved = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (starved) {
      co_await state->client.loop().sleep(std::chrono::milliseconds(limits::accept_backoff_ms));
    } else {
      state->interest.drained_read();
    }
  }
  if (!state->closed) state->client.nudge_reader();
}

std::optional<PeerListener::Peer> PeerListener::take() {
  return std::exchange(state_->peer, std::nullopt);
}
bool PeerListener::ready() const { return state_->peer.has_value(); }
bool PeerListener::gone() const { return state_->gone; }
std::uint64_t PeerListener::turned_away() const { return state_->turned_away; }

}  // namespace epif::proxy
