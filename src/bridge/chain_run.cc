// The running half of a Chain: pairs, pumps at the outer ends, lent sockets, releases.
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>

#include "bridge/chain_state.h"

namespace epif::bridge {
namespace {

constexpr auto for_ever = std::chrono::hours(24 * 365);

/// A socket that a BF may hold itself. Not MPTCP's: the kernel counts the bytes of one path alone, and filters none.
bool lendable(const net::Stream& stream) {
  int protocol = 0;
  socklen_t size = sizeof protocol;
  const int fd = stream.clear_socket();
  return fd >= 0 && (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 || protocol != IPPROTO_MPTCP);
}

net::RelayTimes times(const ChainLimits& limits) { return {limits.idle_s, limits.half_closed_s}; }

// A leg that the proxy pumps.
net::Task<> pumped_client(Chain::State& chain, Bytes early) {
  ByteLimit limit(chain.limits.from_client_bytes, "from the client");
  AnnouncedEnd end(chain, way_to_client);
  const net::RelaySide outer{*chain.client, early, &limit, &early};
  const net::RelaySide inner{*chain.client_end, {}, &end};
  auto done = co_await net::relay(outer, inner, chain.from_client, chain.to_client, times(chain.limits));
  if (!done) chain.fail(done.error());
}

net::Task<> into_server(Chain::State& chain, bool& broken) {
  AnnouncedEnd end(chain, way_to_server);
  auto done = co_await net::pump(*chain.server_end, *chain.server, {}, chain.to_server, &end);
  if (done) co_return;
  // The server does not take any more, but may have answered before: the other way reads that and meets the same error.
  broken = done.error().code == Code::reset && chain.server_end->error().code == Code::internal;
  if (!broken) chain.fail(done.error());
}

// What the server said before it broke is in the functions' hands: the client gets it, and then the error.
net::Task<> last_words(Chain::State& chain, Error why) {
  constexpr std::chrono::milliseconds look{10};
  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::bf_last_words_ms);
  const auto over = [&] { return chain.failure || chain.to_client.ended || net::Clock::now() >= deadline; };
  while (!over()) co_await chain.ends[way_to_client].until(std::min(deadline, net::Clock::now() + look));
  chain.fail(std::move(why));
}

net::Task<> from_server(Chain::State& chain, Bytes early, const bool& broken) {
  ByteLimit limit(chain.limits.from_server_bytes, "from the server");
  auto done = co_await net::pump(*chain.server, *chain.server_end, early, chain.from_server, &limit, &early);
  if (chain.failure || (done && !broken)) co_return;
  if (!done && (done.error().code != Code::reset || chain.server->error().code != Code::reset)) co_return chain.fail(done.error());
  Error why = done ? Error{Code::reset, "the server took only a part"} : done.error();
  if (!done) {
    chain.server_broke = why;
    auto ended = co_await net::end_write(*chain.server_end);
    static_cast<void>(ended);  // a function that is gone fails the chain by itself
  }
  co_await last_words(chain, std::move(why));
}

// Its idle time is the other leg's: what passes here passes there.
net::Task<> pumped_server(Chain::State& chain, Bytes early) {
  bool broken = false;
  co_await net::when_both(into_server(chain, broken), from_server(chain, std::move(early), broken));
  if (broken) chain.fail({Code::reset, "the server took only a part"});
}

// A leg whose TCP socket the BF has: it copies, we end. `out` is the way that leaves through this socket.
net::Task<> lent(Chain::State& chain, net::Stream& stream, std::size_t out) {
  auto announced = co_await await_announced(chain, out, net::Clock::now() + for_ever);
  if (!announced) co_return chain.fail(announced.error());
  const auto& last = out == way_to_server ? *chain.links.back() : *chain.links.front();
  if (!last.released() && !chain.passed[out]) {  // after a release our own relay has passed the end on
    const auto written = kernel_written(stream.clear_socket());
    const auto before = chain.written[out == way_to_client ? 0 : 1];
    if (written && *written - before != *last.ended(out)) {
      co_return chain.fail({Code::bf_failed, "bridging function announced another number of bytes than it wrote",
                            last.description().instance, fmt::format("{} announced, {} written", *last.ended(out), *written - before)});
    }
    auto ended = co_await net::end_write(stream);
    if (!ended) co_return chain.fail(ended.error());
    chain.passed[out] = true;
  }
  auto other = co_await await_announced(chain, 1 - out, net::Clock::now() + for_ever);
  if (!other) chain.fail(other.error());
}

// The end of a way through a link that released its streams.
class ReleasedEnd final : public net::PumpGate {
 public:
  ReleasedEnd(Chain::State& chain, Link& link, std::size_t way, bool last, ByteLimit limit)
      : chain_(chain), link_(link), way_(way), last_(last), limit_(limit) {}
  Result<> before_bytes(const net::Carried& carried, std::size_t more) override { return limit_.before_bytes(carried, more); }
  net::Task<Result<>> before_end(const net::Carried& carried) override {
    const auto& before = *link_.released();
    if (!link_.ended(way_))
      link_.announce(way_, (way_ == way_to_server ? before.bytes_to_server : before.bytes_to_client) + carried.bytes);
    chain_.wake();
    if (!last_) co_return Result<>{};
    auto announced = co_await await_announced(chain_, way_, net::Clock::now() + std::chrono::milliseconds(limits::bf_report_wait_ms));
    co_return announced;
  }

 private:
  Chain::State& chain_;
  Link& link_;
  std::size_t way_;
  bool last_;  // the way leaves through a peer's own socket
  ByteLimit limit_;
};

net::Task<> join_neighbours(Chain::State& chain, Link& link) {
  const bool at_client = chain.direct_client && &link == chain.links.front().get();
  const bool at_server = chain.direct_server && &link == chain.links.back().get();
  std::unique_ptr<net::SocketStream> own_client, own_server;
  if (!at_client) own_client = std::make_unique<net::SocketStream>(chain.loop, std::move(link.kept[0]));
  if (!at_server) own_server = std::make_unique<net::SocketStream>(chain.loop, std::move(link.kept[1]));
  net::Stream& towards_client = at_client ? *chain.client : *own_client;
  net::Stream& towards_server = at_server ? *chain.server : *own_server;
  // Limits at lent sockets are watched by the kernel's counts.
  ReleasedEnd to_server(chain, link, way_to_server, at_server, ByteLimit({}, {}));
  ReleasedEnd to_client(chain, link, way_to_client, at_client, ByteLimit({}, {}));
  net::Carried up, down;
  const net::RelaySide a{towards_client, {}, &to_server};
  const net::RelaySide b{towards_server, {}, &to_client};
  auto done = co_await net::relay(a, b, up, down, times(chain.limits));
  if (!done) chain.fail(done.error());
  --chain.splices;
  chain.wake();
}

// A pair: our end becomes a stream, the other goes to a BF.
Result<Fd> pair_with(net::Loop& loop, std::unique_ptr<net::SocketStream>& our_end) {
  auto pair = net::stream_pair();
  if (!pair) return fail(pair.error());
  our_end = std::make_unique<net::SocketStream>(loop, std::move(pair->first));
  return std::move(pair->second);
}

Result<Fd> copy_of(int fd) {
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail(system_error(errno, "cannot copy a socket for a bridging function"));
  return copy;
}

ByteSpan head(ByteSpan early) { return early.first(std::min(early.size(), limits::bf_early_max_bytes)); }

}  // namespace

void Chain::State::splice(Link& link) {
  ++splices;
  net::spawn(join_neighbours(*this, link));
}

Result<> Chain::State::start(ByteSpan early_from_client, ByteSpan early_from_server) {
  const auto count = links.size();
  std::vector<std::array<Fd, 2>> ends_of(count);  // towards client, towards server
  auto client_leg = direct_client ? copy_of(client->clear_socket()) : pair_with(loop, client_end);
  if (!client_leg) return epif::fail(client_leg.error());
  ends_of.front()[0] = std::move(*client_leg);
  auto server_leg = direct_server ? copy_of(server->clear_socket()) : pair_with(loop, server_end);
  if (!server_leg) return epif::fail(server_leg.error());
  ends_of.back()[1] = std::move(*server_leg);
  for (std::size_t i = 0; i + 1 < count; ++i) {
    auto pair = net::stream_pair();
    if (!pair) return epif::fail(pair.error());
    for (const auto* end : {&pair->first, &pair->second}) {
      auto copy = copy_of(end->get());
      if (!copy) return epif::fail(copy.error());
      joints.push_back(std::move(*copy));
    }
    ends_of[i][1] = std::move(pair->first);
    ends_of[i + 1][0] = std::move(pair->second);
  }
  for (std::size_t i = 0; i < count && !failure; ++i) {
    Start start;
    start.direct_client = direct_client && i == 0;
    start.direct_server = direct_server && i + 1 == count;
    if (i == 0) start.early_client.assign(early_from_client.begin(), early_from_client.end());
    if (i + 1 == count) start.early_server.assign(early_from_server.begin(), early_from_server.end());
    links[i]->start(std::move(start), std::move(ends_of[i][0]), std::move(ends_of[i][1]));
  }
  return {};
}

net::Task<ChainReport> Chain::run(net::Stream& client, Bytes early_from_client, net::Stream& server,
                                  Bytes early_from_server, ChainLimits limits) {
  auto& state = *state_;
  assert(state.client == nullptr);
  state.client = &client;
  state.server = &server;
  state.limits = limits;
  const auto first_client = head(early_from_client);
  const auto first_server = head(early_from_server);
  Bytes rest_client(early_from_client.begin() + static_cast<std::ptrdiff_t>(first_client.size()), early_from_client.end());
  Bytes rest_server(early_from_server.begin() + static_cast<std::ptrdiff_t>(first_server.size()), early_from_server.end());
  state.from_client.bytes = first_client.size();
  state.from_server.bytes = first_server.size();
  state.direct_client = state.links.front()->description().trusted && lendable(client) && rest_client.empty();
  state.direct_server = state.links.back()->description().trusted && lendable(server) && rest_server.empty();
  if (state.direct_client) state.written[0] = kernel_written(client.clear_socket()).value_or(0);
  if (state.direct_server) state.written[1] = kernel_written(server.clear_socket()).value_or(0);
  if (state.direct_client) state.kernel_base_client = kernel_read(client.clear_socket()).value_or(0);
  if (state.direct_server) state.kernel_base_server = kernel_read(server.clear_socket()).value_or(0);

  if (state.failure) {  // a BF died between open() and now
    const auto why = *state.failure;
    client.abort(why), server.abort(why);
  } else if (auto started = state.start(first_client, first_server); !started) {
    state.fail(started.error());
  } else {
    Bytes().swap(early_from_client), Bytes().swap(early_from_server);
    state.lent = state.direct_client && state.direct_server;
    state.watch_direct();
    auto client_leg = state.direct_client ? lent(state, client, way_to_client) : pumped_client(state, std::move(rest_client));
    auto server_leg = state.direct_server ? lent(state, server, way_to_server) : pumped_server(state, std::move(rest_server));
    co_await net::when_both(std::move(client_leg), std::move(server_leg));
  }
  auto report = co_await state.finish();
  co_return report;
}

net::Task<ChainReport> Chain::run_on(net::Stream& client, net::Stream& server) {
  auto& state = *state_;
  assert(state.client == nullptr);
  state.client = &client;
  state.server = &server;
  if (state.failure) {  // cut, or a BF died, on the way here
    const auto why = *state.failure;
    client.abort(why), server.abort(why);
  } else {
    state.lent = true;
    state.watch_direct();
    co_await net::when_both(lent(state, client, way_to_client), lent(state, server, way_to_server));
  }
  auto report = co_await state.finish();
  co_return report;
}

net::Task<ChainReport> Chain::State::finish() {
  watch.cancel();
  while (splices > 0) co_await reports.until(net::Clock::now() + for_ever);

  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::bf_report_wait_ms);
  const auto all_reported = [this] {
    return std::all_of(links.begin(), links.end(), [](const auto& link) { return link->reported() || !link->heard(); });
  };
  while (!all_reported() && net::Clock::now() < deadline) co_await reports.until(deadline);

  ChainReport report;
  report.from_client = bytes_from_client();
  report.from_server = bytes_from_server();
  report.failure = failure;
  report.left = left;
  for (const auto& link : links) report.functions.push_back(link->report());
  client = server = nullptr;
  co_return report;
}

}  // namespace epif::bridge
