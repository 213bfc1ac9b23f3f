#include "redirect/redirector.h"

#include <sys/socket.h>

#include <array>
#include <latch>

#include "net/udp.h"
#include "redirect/capture.h"

namespace epif::redirect {
namespace {

Result<Fd> listen_on(const SocketAddress& at) {
  // Transparent: forwarded connections arrive with the address of their destination.
  auto listener = net::listen(at, {.reuse_port = true, .transparent = true});
  if (!listener) return listener;
  // Accepted connections inherit it: if this process dies, they are reset, and a cut transfer never looks complete.
  const linger reset{1, 0};
  setsockopt(listener->get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
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

Result<std::unique_ptr<Redirector>> Redirector::start(Settings settings, std::shared_ptr<const Routes> routes) {
  std::unique_ptr<Redirector> redirector(new Redirector(std::move(settings)));
  for (unsigned i = 0; i < redirector->settings_.threads; ++i) {
    auto added = redirector->add_thread(routes);
    if (!added) return fail(std::move(added.error()));
  }
  return redirector;
}

Result<> Redirector::add_thread(std::shared_ptr<const Routes> routes) {
  Sockets sockets;
  auto bound = bind_port(settings_.listen_port, sockets.connections, sockets.datagrams, settings_.mark);
  if (bound && settings_.dns_port != 0) bound = bind_port(settings_.dns_port, sockets.dns_connections, sockets.dns_datagrams, settings_.mark);
  if (!bound) return bound;
  auto loop = net::Loop::make();
  if (!loop) return fail(std::move(loop.error()));
  (*loop)->pipes().set_mode(settings_.splice);
  auto made = std::make_unique<Thread>();
  made->loop = std::move(*loop);
  auto* mine = made.get();
  threads_.push_back(std::move(made));
  mine->loop->post([this, mine, routes = std::move(routes), fds = std::move(sockets)]() mutable {
    mine->worker = std::make_unique<Worker>(*mine->loop, settings_, std::move(routes), std::move(fds));
  });
  mine->thread = std::thread([mine] {
    mine->loop->run();
    // Flows were cut: their coroutines end in the next rounds.
    while (!mine->worker->idle()) mine->loop->run_once(std::chrono::milliseconds(10));
    mine->worker.reset();
  });
  return {};
}

void Redirector::on_all(const std::function<void(Thread&)>& action) {
  std::latch done(static_cast<std::ptrdiff_t>(threads_.size()));
  for (auto& thread : threads_) {
    thread->loop->post([&action, &done, mine = thread.get()] {
      action(*mine);
      done.count_down();
    });
  }
  done.wait();
}

void Redirector::apply(std::shared_ptr<const Routes> routes) {
  on_all([&](Thread& thread) { thread.worker->apply(routes); });
}

void Redirector::renew(const std::shared_ptr<net::TlsContext>& tls) {
  on_all([&](Thread& thread) { thread.worker->renew(tls); });
}

Stats Redirector::stats(bool with_flows) {
  std::vector<Stats> parts(threads_.size());
  on_all([&](Thread& thread) {
    const auto at = std::ranges::find(threads_, &thread, &std::unique_ptr<Thread>::get) - threads_.begin();
    parts[static_cast<std::size_t>(at)] = thread.worker->stats(with_flows);
  });
  Stats all;
  for (const auto& part : parts) all.add(part);
  return all;
}

Redirector::~Redirector() {
  for (auto& thread : threads_) {
    thread->loop->post([mine = thread.get()] { mine->worker->cut_all({Code::revoked, "the redirector stops"}); });
    thread->loop->stop();
  }
  for (auto& thread : threads_) thread->thread.join();
}

}  // namespace epif::redirect
