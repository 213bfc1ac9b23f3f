#include "redirect/sockets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cassert>
#include <sstream>

#include "net/tcp.h"
#include "net/udp.h"

namespace epif::redirect {
namespace {

struct Kind {
  std::string_view name;
  std::vector<Fd> Sockets::* list;
};
constexpr std::array kinds{Kind{"connections", &Sockets::connections}, Kind{"datagrams", &Sockets::datagrams},
                           Kind{"dns-connections", &Sockets::dns_connections}, Kind{"dns-datagrams", &Sockets::dns_datagrams}};
constexpr std::size_t threads_most = 1024;

Result<Fd> listen_on(const SocketAddress& at) {
  // Transparent: forwarded connections arrive with the address of their destination.
  auto listener = net::listen(at, {.reuse_port = true, .transparent = true});
  if (!listener) return listener;
  // Accepted connections inherit it: if this process dies, they are reset, and a cut transfer never looks complete.
  net::reset_on_close(listener->get(), true);
  net::stay_unpaced(listener->get());  // inherited, too
  return listener;
}

/// Both families of one port.
Result<> bind_port(std::uint16_t port, std::vector<Fd>& connections, std::vector<Fd>& datagrams, std::uint32_t mark) {
  for (const auto* text : {"127.0.0.1", "::1"}) {
    const auto ip = IpAddress::parse(text);
    assert(ip.has_value());
    const SocketAddress at{*ip, port};
    auto listener = listen_on(at);
    // A kernel without IPv6 has no IPv6 traffic to capture.
    if (!listener && listener.error().code != Code::address_in_use && ip->is_v6()) continue;
    if (!listener) return fail(std::move(listener.error()));
    auto socket = net::udp_socket(at, {.mark = mark, .transparent = true, .reuse_port = true, .original_destination = true});
    if (!socket) return fail(std::move(socket.error()));
    connections.push_back(std::move(*listener));
    datagrams.push_back(std::move(*socket));
  }
  return {};
}

}  // namespace

Result<Fd> listen_for_stand_ins(std::uint16_t port) {
  // All addresses, but over loopback alone: nothing from outside arrives here.
  auto listener = net::listen({IpAddress(), port}, {.reuse_port = true, .device = "lo"});
  if (!listener) return listener;
  net::reset_on_close(listener->get(), true);
  net::stay_unpaced(listener->get());
  return listener;
}

Result<Sockets> bind_sockets(const Settings& settings) {
  Sockets made;
  auto bound = bind_port(settings.listen_port, made.connections, made.datagrams, settings.mark);
  if (bound && settings.stand_ins) {
    auto listener = listen_for_stand_ins(settings.listen_port);
    if (!listener) return fail(std::move(listener.error()));
    made.connections.push_back(std::move(*listener));
  }
  if (bound && settings.dns_port != 0) bound = bind_port(settings.dns_port, made.dns_connections, made.dns_datagrams, settings.mark);
  if (!bound) return fail(std::move(bound.error()));
  return made;
}

Result<std::vector<net::Handed>> copies_of(const std::vector<Sockets>& threads) {
  std::vector<net::Handed> things;
  for (std::size_t thread = 0; thread < threads.size(); ++thread) {
    for (const auto& kind : kinds) {
      for (const auto& socket : threads[thread].*kind.list) {
        Fd copy(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
        if (!copy) return fail(system_error(errno, "cannot copy a listening socket"));
        things.push_back({fmt::format("socket {} {}", kind.name, thread), std::move(copy)});
      }
    }
  }
  return things;
}

Result<std::vector<Sockets>> take_sockets(std::vector<net::Handed>& things) {
  std::vector<Sockets> threads;
  for (auto& thing : things) {
    std::istringstream words(thing.what);
    std::string word, name;
    std::size_t thread = threads_most;
    words >> word;
    if (word != "socket") continue;
    words >> name >> thread;
    const auto kind = std::ranges::find(kinds, name, &Kind::name);
    if (kind == kinds.end() || thread >= threads_most || !thing.descriptor) {
      return fail(Code::protocol, "the running redirector hands over something unknown", thing.what, {}, "start without --take-over");
    }
    // A predecessor of an older version has not said so.
    if (name.ends_with("connections")) net::stay_unpaced(thing.descriptor.get());
    if (threads.size() <= thread) threads.resize(thread + 1);
    (threads[thread].*(kind->list)).push_back(std::move(thing.descriptor));
  }
  std::erase_if(things, [](const auto& thing) { return thing.what.starts_with("socket "); });
  return threads;
}

}  // namespace epif::redirect
