#include "redirect/redirector.h"

#include <atomic>
#include <cassert>
#include <latch>

namespace epif::redirect {
Result<std::unique_ptr<Redirector>> Redirector::start(Settings settings, std::shared_ptr<const Routes> routes, std::vector<Sockets> inherited) {
  std::unique_ptr<Redirector> redirector(new Redirector(std::move(settings)));
  const auto& wishes = redirector->settings_;
  assert(wishes.forwarded);
  assert(inherited.empty() || inherited.size() == wishes.threads);
  const bool hears = inherited.empty();
  while (inherited.size() < wishes.threads) {
    auto bound = bind_sockets(wishes);
    if (!bound) return fail(std::move(bound.error()));
    inherited.push_back(std::move(*bound));
  }
  auto copies = copies_of(inherited);
  if (!copies) return fail(std::move(copies.error()));
  redirector->copies_ = std::move(*copies);
  for (auto& sockets : inherited) {
    auto added = redirector->add_thread(routes, std::move(sockets), hears);
    if (!added) return fail(std::move(added.error()));
  }
  return redirector;
}

Result<> Redirector::add_thread(std::shared_ptr<const Routes> routes, Sockets sockets, bool hears) {
  auto loop = net::Loop::make();
  if (!loop) return fail(std::move(loop.error()));
  (*loop)->pipes().set_mode(settings_.splice);
  auto made = std::make_unique<Thread>();
  made->loop = std::move(*loop);
  auto* mine = made.get();
  threads_.push_back(std::move(made));
  mine->loop->post([this, mine, hears, routes = std::move(routes), fds = std::move(sockets)]() mutable {
    mine->worker = std::make_unique<Worker>(*mine->loop, settings_, std::move(routes));
    mine->unheard = std::move(fds);
    if (hears) mine->worker->hear(std::exchange(mine->unheard, {}));
  });
  mine->thread = std::thread([mine, turns = settings_.turns] {
    net::take_turns(turns);
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

void Redirector::hear() {
  on_all([](Thread& thread) { thread.worker->hear(std::exchange(thread.unheard, {})); });
}

void Redirector::apply(std::shared_ptr<const Routes> routes) {
  on_all([&](Thread& thread) { thread.worker->apply(routes); });
}

void Redirector::renew(const std::shared_ptr<net::TlsContext>& tls) {
  on_all([&](Thread& thread) { thread.worker->renew(tls); });
}

void Redirector::renew_ready() {
  on_all([](Thread& thread) { thread.worker->renew_ready(); });
}

void Redirector::hand_over() {
  on_all([](Thread& thread) {
    thread.unheard = {};
    thread.worker->hand_over();
  });
}

bool Redirector::idle() {
  std::atomic<std::size_t> busy = 0;
  on_all([&](Thread& thread) { busy += thread.worker->idle() ? 0 : 1; });
  return busy == 0;
}

Stats Redirector::stats(bool with_flows) {
  std::vector<Stats> parts(threads_.size());
  on_all([&](Thread& thread) {
    const auto at = std::ranges::find(threads_, &thread, &std::unique_ptr<Thread>::get) - threads_.begin();
    parts[static_cast<std::size_t>(at)] = thread.worker->stats(with_flows);
  });
  Stats all;
  for (const auto& part : parts) all.add(part);
  all.forwarded = settings_.forwarded->state();
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
