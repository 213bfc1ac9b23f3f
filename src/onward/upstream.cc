#include "onward/upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "base/limits.h"
#include "net/icmp_error.h"

namespace epif::onward {
namespace {

using std::chrono::milliseconds;

bool is_anything(const Cidr& block) { return block.prefix == 0; }

/// RFC 8305 section 4: families take turns, beginning with that of the first address.
std::vector<IpAddress> interleave(const std::vector<IpAddress>& addresses) {
  std::deque<IpAddress> first, second;
  for (const auto& address : addresses) (address.is_v6() == addresses[0].is_v6() ? first : second).push_back(address);
  std::vector<IpAddress> mixed;
  while (!first.empty() || !second.empty()) {
    for (auto* queue : {&first, &second}) {
      if (queue->empty()) continue;
      mixed.push_back(queue->front());
      queue->pop_front();
    }
  }
  return mixed;
}

net::Task<Result<Upstream>> connect_one(net::Loop& loop, SocketAddress to, net::ConnectOptions options, ByteSpan first,
                                        net::TimePoint deadline) {
  const auto mine = std::min(deadline, net::Clock::now() + milliseconds(limits::connect_deadline_ms));
  options.icmp_errors = true;
  auto connected = co_await net::connect(loop, to, options, first, mine);
  if (!connected) co_return fail(std::move(connected.error()));
  net::reset_on_close(connected->stream->fd(), true);
  if (connected->sent > 0) {
    auto established = co_await net::until_established(*connected->stream, to, options.multipath, mine);
    if (!established) co_return fail(std::move(established.error()));
  }
  if (to.ip.is_v6()) net::keep_icmp_errors(connected->stream->fd(), false);
  Upstream made;
  made.bound = net::local_address(connected->stream->fd());
  made.sent = connected->sent;
  made.fast_open = connected->fast_open;
  made.stream = std::move(connected->stream);
  co_return made;
}

/// Attempts that run beside each other; the first to stand wins, the others are closed as they end.
struct Race : std::enable_shared_from_this<Race> {
  Race(net::Loop& on, net::ConnectOptions with, net::TimePoint until, Attempts how)
      : loop(on), options(with), deadline(until), attempts(how) {}

  net::Loop& loop;
  net::ConnectOptions options;
  net::TimePoint deadline;
  Attempts attempts;
  std::vector<SocketAddress> to{};
  std::size_t next = 0;
  std::size_t running = 0;
  std::optional<Upstream> winner{};
  std::optional<Error> first_error{};
  net::Loop::Timer stagger{};
  std::coroutine_handle<> waiter{};

  static net::Task<void> attempt(std::shared_ptr<Race> race, SocketAddress at) {
    auto made = co_await connect_one(race->loop, at, race->options, {}, race->deadline);
    --race->running;
    if (race->winner) co_return;
    if (made) {
      race->winner = std::move(*made);
    } else {
      if (!race->first_error) race->first_error = std::move(made.error());
      race->start_next();
    }
    race->settle();
  }
  void start_next() {
    stagger.cancel();
    if (winner || next == to.size()) return;
    ++running;
    net::spawn(attempt(shared_from_this(), to[next++]));
    if (winner || next == to.size() || attempts == Attempts::one_by_one) return;
    stagger = loop.after(milliseconds(limits::connect_stagger_ms), [this] {
      stagger = {};
      start_next();
    });
  }
  [[nodiscard]] bool over() const { return winner || (running == 0 && next == to.size()); }
  void settle() {
    if (!over()) return;
    stagger.cancel();
    if (waiter) loop.resume_soon(std::exchange(waiter, {}));
  }
  struct Finish {
    Race& race;
    bool await_ready() const noexcept { return race.over(); }
    void await_suspend(std::coroutine_handle<> handle) const noexcept { race.waiter = handle; }
    void await_resume() const noexcept {}
  };
};

}  // namespace

net::Task<Result<std::vector<IpAddress>>> addresses_of(net::Loop& loop, net::Resolver& resolver, const Destination& target,
                                                       const Route& route, net::Resolver::Asking& asking) {
  if (const auto* ip = std::get_if<IpAddress>(&target.host)) co_return std::vector{*ip};
  const auto& block = route.destination.block;
  if (block.prefix == (block.address.is_v6() ? 128 : 32)) co_return std::vector{block.address};
  auto found = co_await resolver.resolve(loop, std::get<std::string>(target.host), asking);
  if (!found) co_return fail(std::move(found.error()));
  if (!is_anything(block)) {
    std::erase_if(*found, [&](const IpAddress& ip) { return !block.contains(ip.unmapped()); });
    if (found->empty()) {
      co_return fail(Code::no_route, "the name resolves to addresses outside of the route", target.text(), block.text());
    }
  }
  co_return interleave(*found);
}

net::Task<Result<Upstream>> connect_any(net::Loop& loop, std::vector<IpAddress> addresses, std::uint16_t port,
                                        net::ConnectOptions options, ByteSpan first, net::TimePoint deadline, Attempts attempts) {
  assert(!addresses.empty());
  std::optional<Error> first_error;
  if (addresses.size() == 1 || options.fast_open) {
    auto made = co_await connect_one(loop, {addresses[0], port}, options, first, deadline);
    if (made) made->raced = attempts == Attempts::race && !options.fast_open;
    if (made || addresses.size() == 1) co_return made;
    first_error = std::move(made.error());
    addresses.erase(addresses.begin());
    options.fast_open = false;
    attempts = Attempts::one_by_one;
  }
  auto race = std::make_shared<Race>(loop, options, deadline, attempts);
  for (const auto& address : addresses) race->to.push_back({address, port});
  race->start_next();
  co_await Race::Finish{*race};
  if (!race->winner) co_return fail(first_error ? std::move(*first_error) : *race->first_error);
  race->winner->raced = attempts == Attempts::race;
  co_return std::move(*race->winner);
}

}  // namespace epif::onward
