#include "net/tcp.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cassert>
#include <cerrno>

#include "base/limits.h"
#include "base/log.h"
#include "net/icmp_error.h"

namespace epif::net {
namespace {

bool at_device(int fd, const std::string& device) {
  return device.empty() || ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size())) == 0;
}

constexpr int so_original_dst = 80;  // linux/netfilter_ipv4.h and ip6_tables.h give both families this number

int family(const SocketAddress& address) { return address.ip.is_v6() ? AF_INET6 : AF_INET; }

bool set_int(int fd, int level, int option, int value) { return ::setsockopt(fd, level, option, &value, sizeof value) == 0; }

/// An MPTCP socket if wanted and possible, else TCP's.
Fd make_socket(int family, bool multipath) {
  if (multipath) {
    Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_MPTCP));
    if (fd) return fd;
  }
  return Fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int get_int(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  ::getsockopt(fd, level, option, &value, &size);
  return value;
}

Result<> apply(int fd, const SocketAddress& to, const ConnectOptions& options) {
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options.mark && !set_int(fd, SOL_SOCKET, SO_MARK, static_cast<int>(*options.mark))) {
    return fail(system_error(errno, "cannot mark own traffic", to.text()));
  }
  const bool six = to.ip.is_v6();
  if (options.tos) set_int(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TCLASS : IP_TOS, *options.tos);
  if (options.ttl) set_int(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_UNICAST_HOPS : IP_TTL, *options.ttl);
  if (options.no_fragmentation) set_no_fragmentation(fd, *options.no_fragmentation);
  // Of a socket that connects it says what it says of one that listens: there is no news before bytes. Wrong only by 200 ms.
  if (options.speaks_at_once && !options.fast_open && !options.multipath) set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
  if (options.icmp_errors && six) keep_icmp_errors(fd, true);
  if (options.source) {
    set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    sockaddr_storage storage{};
    const auto length = to_sockaddr(*options.source, storage);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) {
      return fail(system_error(errno, "cannot bind the source address", options.source->text()));
    }
  }
  return {};
}

SocketAddress name_of(int fd, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (ask(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return from_sockaddr(storage);
}

}  // namespace

void set_no_fragmentation(int fd, bool never) {
  if (get_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6) {
    set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, never ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_DONT);
    set_int(fd, IPPROTO_IPV6, IPV6_DONTFRAG, never ? 1 : 0);
  }
  // An IPv6 socket may carry IPv4 (dual stack).
  set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, never ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT);
}

bool never_fragments(int fd) {
  if (get_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6) {
    return get_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER) == IPV6_PMTUDISC_DO;
  }
  return get_int(fd, IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_DO;
}

namespace {

constexpr std::string_view unpaced = "reno";

std::string congestion_control(int fd) {
  std::array<char, 32> name{};
  socklen_t size = name.size() - 1;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) != 0) return {};
  return name.data();
}

void set_congestion_control(int fd, std::string_view name) {
  if (!name.empty()) ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), static_cast<socklen_t>(name.size()));
}

}  // namespace

void stay_unpaced(int listener) { set_congestion_control(listener, unpaced); }

void pace_as_node(int fd) {
  if (congestion_control(fd) != unpaced) return;  // its route says which
  // Asked anew each time: the default may change, and a socket may be missing once.
  if (const Fd any(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); any) set_congestion_control(fd, congestion_control(any.get()));
}

bool speaks_multipath(int fd) {
  if (get_int(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_MPTCP) return false;
  return get_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 0 || multipath_paths(fd) > 0;
}

unsigned multipath_paths(int fd) {
  // linux/mptcp.h, struct mptcp_info: MPTCP_INFO fails once the connection has fallen back to TCP, and for TCP itself. The
  // first byte counts the subflows beside the first; Linux 6.6 and later count all of them, at this place.
  constexpr int sol_mptcp = 284;
  constexpr int mptcp_info_option = 1;
  constexpr std::size_t all_subflows = 80;
  std::array<std::uint8_t, 256> info{};
  socklen_t size = info.size();
  if (::getsockopt(fd, sol_mptcp, mptcp_info_option, info.data(), &size) != 0) return 0;
  return size > all_subflows && info[all_subflows] != 0 ? info[all_subflows] : info[0] + 1u;
}

unsigned to_sockaddr(const SocketAddress& address, sockaddr_storage& out) {
  out = {};
  const auto bytes = address.ip.bytes();
  if (address.ip.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(out);
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
    return sizeof in;
  }
  auto& in = reinterpret_cast<sockaddr_in6&>(out);
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(address.port);
  std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
  return sizeof in;
}

SocketAddress from_sockaddr(const sockaddr_storage& in) {
  if (in.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(in);
    return {IpAddress::v4({reinterpret_cast<const std::uint8_t*>(&four.sin_addr), 4}), ntohs(four.sin_port)};
  }
  if (in.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(in);
    return {IpAddress::v6({six.sin6_addr.s6_addr, 16}), ntohs(six.sin6_port)};
  }
  return {};
}

SocketAddress local_address(int fd) { return name_of(fd, ::getsockname); }
SocketAddress peer_address(int fd) { return name_of(fd, ::getpeername); }

Result<SocketAddress> original_destination(int fd, const SocketAddress& local) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  const int level = local.ip.is_v6() ? SOL_IPV6 : SOL_IP;
  if (::getsockopt(fd, level, so_original_dst, &storage, &length) != 0) {
    return fail(Code::not_found, "the connection was not redirected", local.text());
  }
  return from_sockaddr(storage);
}

Result<IpAddress> source_towards(const SocketAddress& destination) {
  // Connecting a datagram socket sends nothing: it only chooses a route.
  const Fd any(::socket(destination.ip.is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const auto length = to_sockaddr(destination, storage);
  if (!any || ::connect(any.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail(system_error(errno, "no route", destination.text()));
  }
  return local_address(any.get()).ip;
}

namespace {

std::string_view reported(Code code) {
  switch (code) {
    case Code::net_unreachable: return "network unreachable";
    case Code::refused: return "connection refused";
    case Code::ttl_expired: return "TTL expired on the way";
    default: return "host unreachable";
  }
}

/// Why a connection that is being made comes to nothing. The kernel gives an ICMP message's exact meaning to the socket's queue
/// alone; one that arrives while it still sends the SYN (from a router on this machine) it does not take for an end either.
std::optional<Error> failed_on_the_way(int fd, int error_number, const SocketAddress& to) {
  const bool over = error_number != EALREADY && error_number != EINPROGRESS;
  while (const auto met = next_icmp_error(fd)) {
    const auto code = ends_attempt(*met);
    if (code) return Error{*code, "cannot connect", to.text(), fmt::format("{}, as {} reports", reported(*code), met->reporter.text()), {}};
  }
  if (over) return system_error(error_number, "cannot connect", to.text());
  return std::nullopt;
}

}  // namespace

Task<Result<>> until_established(SocketStream& stream, SocketAddress to, bool multipath, TimePoint deadline) {
  sockaddr_storage storage{};
  const auto length = to_sockaddr(to, storage);
  for (;;) {
    // After a cut the socket is unconnected: the question would begin a connection anew.
    if (stream.has_failed()) co_return fail(stream.error());
    // Asked once more, the kernel tells in one call what has become of a connection.
    const bool stands = ::connect(stream.fd(), reinterpret_cast<sockaddr*>(&storage), length) == 0 || errno == EISCONN;
    if (!stands) {
      auto failed = failed_on_the_way(stream.fd(), errno, to);
      if (failed) co_return fail(std::move(*failed));
    }
    // An MPTCP socket tells of its first subflow, which may be ahead of it: then it has no peer yet.
    const bool ahead = multipath && peer_address(stream.fd()) == SocketAddress{};
    if (stands && !ahead) co_return Result<>{};
    // The registration's first edge may report the socket before it is connected: writability is asked for anew.
    stream.await_connection();
    auto ready = co_await stream.writable(deadline);
    if (!ready) {
      auto error = std::move(ready.error());
      error.where = to.text();
      if (error.code == Code::timeout) error.what = "cannot connect: no answer in time";
      co_return fail(std::move(error));
    }
  }
}

Task<Result<Connected>> connect(Loop& loop, SocketAddress to, ConnectOptions options, ByteSpan first, TimePoint deadline) {
  Fd fd = make_socket(family(to), options.multipath);
  if (!fd) co_return fail(system_error(errno, "cannot make a socket", to.text()));
  // With a cached cookie the kernel keeps the SYN back until the first write: without a word to come it would never leave.
  const bool words_follow = options.fast_open && first.empty() && options.speaks_at_once && !options.multipath;
  const bool syn_waits = words_follow && set_int(fd.get(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
  options.fast_open = syn_waits || (options.fast_open && !first.empty());
  auto applied = apply(fd.get(), to, options);
  if (!applied) co_return fail(std::move(applied.error()));
  sockaddr_storage storage{};
  const auto length = to_sockaddr(to, storage);
  const auto* address = reinterpret_cast<const sockaddr*>(&storage);
  // EINPROGRESS: there is no cookie yet, and the SYN left without data to ask for one. EOPNOTSUPP: this node has it switched off.
  const bool with_words = options.fast_open && !syn_waits;
  const auto sent = with_words ? ::sendto(fd.get(), first.data(), first.size(), MSG_FASTOPEN | MSG_NOSIGNAL, address, length) : -1;
  bool left = sent > 0 || (with_words && errno == EINPROGRESS);
  const bool fast_opened = left || syn_waits;
  bool ready = sent > 0;
  if (!with_words || (!left && errno == EOPNOTSUPP)) {
    ready = ::connect(fd.get(), address, length) == 0;
    left = ready || errno == EINPROGRESS;
  }
  if (!left) co_return fail(system_error(errno, "cannot connect", to.text()));
  const auto taken = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
  Connected made{std::make_unique<SocketStream>(loop, std::move(fd), true), taken, fast_opened};
  made.stream->await_bytes();
  if (ready && options.fast_open) co_return made;
  const Cancel::Stage stage(options.cancel, *made.stream);
  auto stands = co_await until_established(*made.stream, to, options.multipath, deadline);
  if (!stands) co_return fail(std::move(stands.error()));
  co_return made;
}

Result<Fd> listen(SocketAddress at, const ListenOptions& options) {
  Fd fd = make_socket(family(at), options.multipath);
  if (!fd) return fail(system_error(errno, "cannot make a socket", at.text()));
  set_int(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (at.ip.is_v6()) set_int(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.dual_stack ? 0 : 1);
  if (options.reuse_port) set_int(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (options.fast_open) set_int(fd.get(), IPPROTO_TCP, TCP_FASTOPEN, 4096);
  if (options.transparent) {
    const bool done = at.ip.is_v6() ? set_int(fd.get(), SOL_IPV6, IPV6_TRANSPARENT, 1) : set_int(fd.get(), SOL_IP, IP_TRANSPARENT, 1);
    if (!done) return fail(system_error(errno, "cannot listen transparently", at.text()));
  }
  if (!at_device(fd.get(), options.device)) return fail(system_error(errno, "cannot listen at a device", options.device));
  set_int(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);  // accepted sockets inherit it: one system call less for each
  sockaddr_storage storage{};
  const auto length = to_sockaddr(at, storage);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || ::listen(fd.get(), options.backlog) != 0) {
    auto error = system_error(errno, "cannot listen", at.text());
    if (error.code == Code::address_in_use) error.advice = "choose another port or end the program that holds it";
    return fail(std::move(error));
  }
  return fd;
}

struct Acceptor::State {
  Loop& loop;
  Fd fd;
  Interest interest;
  OnConnection on_connection;
  std::uint64_t backed_off = 0;
  bool closed = false;

  State(Loop& on, Fd listener, OnConnection callback)
      : loop(on), fd(std::move(listener)), interest(on, fd.get()), on_connection(std::move(callback)) {}
};

Acceptor::Acceptor(Loop& loop, Fd listener, OnConnection on_connection)
    : state_(std::make_shared<State>(loop, std::move(listener), std::move(on_connection))) {
  spawn(run(state_));
}

Acceptor::~Acceptor() {
  state_->closed = true;
  state_->interest.fail({Code::internal, "the listener is closed"});
}

Task<void> Acceptor::run(std::shared_ptr<State> state) {
  while (!state->closed) {
    auto ready = co_await state->interest.readable();
    if (!ready) co_return;
    while (!state->closed) {
      sockaddr_storage storage{};
      socklen_t length = sizeof storage;
      Fd connection(::accept4(state->fd.get(), reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (connection) {
        state->on_connection(std::move(connection), from_sockaddr(storage));
        continue;
      }
      if (errno == EAGAIN) {
        state->interest.drained_read();
        break;
      }
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // The edge is spent and the queue is not empty: come back by the clock, not by spinning.
        if (state->backed_off++ == 0) log::error("net", system_error(errno, "accept pauses"));
        co_await state->loop.sleep(std::chrono::milliseconds(limits::accept_backoff_ms));
      }
      // All else (ECONNABORTED, EPROTO ...) concerns only the connection that was lost.
    }
  }
}

SocketAddress Acceptor::address() const { return local_address(state_->fd.get()); }
std::uint64_t Acceptor::backed_off() const { return state_->backed_off; }

}  // namespace epif::net
