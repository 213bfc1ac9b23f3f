#include "onward/stack.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>

namespace epif::onward {
namespace {

using socks6::Leg;

bool is_v6(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  return domain == AF_INET6;
}

/// True if what the socket sends is IPv6. One that listens for both families accepts IPv4 on IPv6 sockets.
bool sends_v6(int fd) {
  if (!is_v6(fd)) return false;
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return true;
  return !IN6_IS_ADDR_V4MAPPED(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr);
}

bool set(int fd, int level, int option, int value) { return ::setsockopt(fd, level, option, &value, sizeof value) == 0; }

/// What the kernel really uses, since a value may be refused or masked.
std::optional<std::uint8_t> in_force(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, level, option, &value, &size) != 0) return std::nullopt;
  return static_cast<std::uint8_t>(value);
}

std::optional<std::uint8_t> tos_in_force(int fd) {
  return sends_v6(fd) ? in_force(fd, IPPROTO_IPV6, IPV6_TCLASS) : in_force(fd, IPPROTO_IP, IP_TOS);
}
std::optional<std::uint8_t> ttl_in_force(int fd) {
  return sends_v6(fd) ? in_force(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS) : in_force(fd, IPPROTO_IP, IP_TTL);
}

void set_ip(const socks6::StackOptions& wishes, Leg leg, int fd) {
  const bool six = is_v6(fd);  // it may carry IPv4: both are set
  if (const auto* tos = wishes.find<socks6::Tos>(leg)) {
    set(fd, IPPROTO_IP, IP_TOS, tos->value);
    if (six) set(fd, IPPROTO_IPV6, IPV6_TCLASS, tos->value);
  }
  if (const auto* ttl = wishes.find<socks6::Ttl>(leg); ttl != nullptr && ttl->value > 0) {
    set(fd, IPPROTO_IP, IP_TTL, ttl->value);
    if (six) set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl->value);
  }
  if (const auto* whole = wishes.find<socks6::NoFragmentation>(leg)) net::set_no_fragmentation(fd, whole->wanted);
}

/// The kernel's MPTCP sockets have neither TTL nor path MTU discovery of their own: who asks for these gets TCP.
bool wants_multipath(const socks6::StackOptions& wishes) {
  const auto* multipath = wishes.find<socks6::Multipath>();
  return multipath != nullptr && multipath->wanted && wishes.find<socks6::Ttl>() == nullptr &&
         wishes.find<socks6::NoFragmentation>() == nullptr;
}

/// True if peers of a listener may send data in their SYN. The socket keeps the wish in any case; the node decides.
bool serves_fast_open(int listener_fd) {
  int waiting = 0;
  socklen_t size = sizeof waiting;
  if (::getsockopt(listener_fd, IPPROTO_TCP, TCP_FASTOPEN, &waiting, &size) != 0 || waiting == 0) return false;
  constexpr unsigned server_bit = 2;  // of net.ipv4.tcp_fastopen
  unsigned allowed = 0;
  std::ifstream("/proc/sys/net/ipv4/tcp_fastopen") >> allowed;
  return (allowed & server_bit) != 0;
}

/// What is in force, for each option that the client sent about this leg.
socks6::StackOptions ip_facts(const socks6::StackOptions& wishes, Leg leg, int fd) {
  socks6::StackOptions facts;
  if (wishes.find<socks6::Tos>(leg) != nullptr) {
    if (const auto tos = tos_in_force(fd)) facts.add(socks6::Tos{leg, *tos});
  }
  if (wishes.find<socks6::Ttl>(leg) != nullptr) {
    if (const auto ttl = ttl_in_force(fd)) facts.add(socks6::Ttl{leg, *ttl});
  }
  if (wishes.find<socks6::NoFragmentation>(leg) != nullptr) facts.add(socks6::NoFragmentation{leg, net::never_fragments(fd)});
  return facts;
}

}  // namespace

socks6::StackOption on_remote_leg(const socks6::StackOption& option) {
  if (const auto* tos = std::get_if<socks6::Tos>(&option)) return socks6::Tos{Leg::proxy_remote, tos->value};
  if (const auto* ttl = std::get_if<socks6::Ttl>(&option)) return socks6::Ttl{Leg::proxy_remote, ttl->value};
  if (const auto* whole = std::get_if<socks6::NoFragmentation>(&option)) {
    return socks6::NoFragmentation{Leg::proxy_remote, whole->wanted};
  }
  return option;
}

net::ConnectOptions remote_options(const socks6::StackOptions& wishes, bool replay_safe) {
  net::ConnectOptions options;
  options.fast_open = replay_safe && wishes.find<socks6::FastOpen>() != nullptr;
  if (const auto* tos = wishes.find<socks6::Tos>()) options.tos = tos->value;
  if (const auto* ttl = wishes.find<socks6::Ttl>(); ttl != nullptr && ttl->value > 0) options.ttl = ttl->value;
  if (const auto* whole = wishes.find<socks6::NoFragmentation>()) options.no_fragmentation = whole->wanted;
  options.multipath = wants_multipath(wishes);
  return options;
}

bool served_by_any_connection(const socks6::StackOptions& wishes) {
  return std::ranges::all_of(wishes, [](const socks6::StackOption& wish) {
    return socks6::leg_of(wish) == Leg::client_proxy || std::holds_alternative<socks6::FastOpen>(wish);
  });
}

socks6::StackOptions remote_leg_facts(const socks6::StackOptions& wishes, const Upstream& upstream, bool named) {
  const int fd = upstream.stream->fd();
  auto facts = ip_facts(wishes, Leg::proxy_remote, fd);
  if (const auto* wish = wishes.find<socks6::FastOpen>(); wish != nullptr && upstream.fast_open) {
    facts.add(socks6::FastOpen{wish->payload_bytes});
  }
  if (wishes.find<socks6::Multipath>() != nullptr) facts.add(socks6::Multipath{net::speaks_multipath(fd)});
  if (named && wishes.find<socks6::HappyEyeballs>() != nullptr) facts.add(socks6::HappyEyeballs{upstream.raced});
  return with_denials(std::move(facts), wishes);
}

socks6::StackOptions client_leg_facts(const socks6::StackOptions& wishes, int client_fd) {
  set_ip(wishes, Leg::client_proxy, client_fd);
  return ip_facts(wishes, Leg::client_proxy, client_fd);
}

socks6::StackOptions with_denials(socks6::StackOptions facts, const socks6::StackOptions& wishes) {
  // What is answered already stays: a repetition is not taken.
  if (wishes.find<socks6::Multipath>() != nullptr) facts.add(socks6::Multipath{false});
  if (wishes.find<socks6::ListenBacklog>() != nullptr) facts.add(socks6::ListenBacklog{0});
  if (wishes.find<socks6::UdpError>() != nullptr) facts.add(socks6::UdpError{false});
  if (wishes.find<socks6::PortParity>() != nullptr) facts.add(socks6::PortParity{});
  return facts;
}

socks6::StackOptions probed_facts(const socks6::StackOptions& wishes, bool named) {
  socks6::StackOptions facts;
  if (wishes.empty()) return facts;
  Fd fd;
  bool multipath = false;
  if (wants_multipath(wishes)) {
    fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    multipath = static_cast<bool>(fd);
  }
  if (!fd) fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return facts;  // no descriptors: nothing can be said
  set_remote(wishes, fd.get());
  facts = ip_facts(wishes, Leg::proxy_remote, fd.get());
  if (wishes.find<socks6::Multipath>() != nullptr) facts.add(socks6::Multipath{multipath});
  const auto* eyeballs = wishes.find<socks6::HappyEyeballs>();
  if (named && eyeballs != nullptr) facts.add(*eyeballs);
  return with_denials(std::move(facts), wishes);
}

socks6::StackOptions failure_facts(const socks6::StackOptions& wishes, bool named, bool raced) {
  socks6::StackOptions facts;
  if (wishes.find<socks6::NoFragmentation>() != nullptr) facts.add(socks6::NoFragmentation{Leg::proxy_remote, false});
  if (named && wishes.find<socks6::HappyEyeballs>() != nullptr) facts.add(socks6::HappyEyeballs{raced});
  facts = with_denials(std::move(facts), wishes);
  // TOS and TTL have no value that says so.
  for (const auto& fact : probed_facts(wishes, false)) facts.add(fact);
  return facts;
}

net::ListenOptions listener_options(const socks6::StackOptions& wishes) {
  net::ListenOptions options;
  options.fast_open = wishes.find<socks6::FastOpen>() != nullptr;
  options.multipath = wants_multipath(wishes);
  return options;
}

socks6::StackOptions listener_facts(const socks6::StackOptions& wishes, int listener_fd, std::uint16_t backlog) {
  set_remote(wishes, listener_fd);  // what a peer meets before it is accepted
  auto facts = ip_facts(wishes, Leg::proxy_remote, listener_fd);
  if (const auto* wish = wishes.find<socks6::FastOpen>(); wish != nullptr && serves_fast_open(listener_fd)) facts.add(*wish);
  if (wishes.find<socks6::Multipath>() != nullptr) facts.add(socks6::Multipath{net::speaks_multipath(listener_fd)});
  if (wishes.find<socks6::ListenBacklog>() != nullptr) facts.add(socks6::ListenBacklog{backlog});
  return with_denials(std::move(facts), wishes);
}

void set_remote(const socks6::StackOptions& wishes, int fd) { set_ip(wishes, Leg::proxy_remote, fd); }

}  // namespace epif::onward
