#include "redirect/redirector.h"

#include <sys/socket.h>

#include <array>
#include <latch>

namespace epif::redirect {
namespace {

Result<Fd> listen_on(std::string_view address, std::uint16_t port) {
  auto ip = IpAddress::parse(address);
  assert(ip.has_value());
  auto listener = net::listen({*ip, port}, {.reuse_port = true});
  if (!listener) return listener;
  // Accepted connections inherit it: if this process dies, they are reset, and a cut transfer never looks complete.
  const linger reset{1, 0};
  setsockopt(listener->get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  return listener;
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
  std::vector<Fd> listeners;
  for (const auto* address : {"127.0.0.1", "::1"}) {
    auto listener = listen_on(address, settings_.listen_port);
    // A kernel without IPv6 has no IPv6 traffic to capture.
    if (!listener && listener.error().code != Code::address_in_use && std::string_view(address) == "::1") continue;
    if (!listener) return fail(std::move(listener.error()));
    listeners.push_back(std::move(*listener));
  }
  auto loop = net::Loop::make();
  if (!loop) return fail(std::move(loop.error()));
  auto made = std::make_unique<Thread>();
  made->loop = std::move(*loop);
  auto* mine = made.get();
  threads_.push_back(std::move(made));
  mine->loop->post([this, mine, routes = std::move(routes), fds = std::move(listeners)]() mutable {
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
