#include "net/warm_pool.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cassert>
#include <deque>
#include <set>

#include "base/log.h"

namespace epif::net {
namespace {

/// True if nothing has arrived: neither an end nor bytes, which a proxy never sends before a request.
bool is_silent(Stream& stream) {
  std::uint8_t byte = 0;
  const auto got = ::recv(stream.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN;
  if (got == 0 || stream.clear_socket() >= 0) return false;
  // TLS may have records of its own (a foreign proxy's session tickets).
  return stream.read_some(stream.loop().scratch()).state == Io::State::would_block;
}

/// True if the kernel left MPTCP out because the first packets were lost (net.mptcp.syn_retrans_before_tcp_fallback), not because
/// the peer does without it: so come those that were begun while a link was down.
bool fell_back_on_loss(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return !speaks_multipath(fd) && ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_total_retrans > 0;
}

}  // namespace

struct WarmPool::State {
  struct Idle {
    std::unique_ptr<Stream> stream;
    TimePoint since;
  };

  Loop& loop;
  Settings settings;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t lost = 0;
  std::uint64_t failed = 0;
  std::uint64_t handshakes = 0;
  std::uint64_t resumed = 0;
  std::deque<Idle> idle{};  ///< oldest first
  std::set<Cancel*> openings{};  ///< of the background: end with the pool
  std::size_t wanted = 0;   ///< between settings.keep and the most
  std::size_t opening = 0;
  std::uint64_t misses_seen = 0;
  std::uint32_t pause_ms = 0;  ///< after failures; 0: none
  TimePoint next_try{};
  Loop::Timer check{};
  Loop::Timer soon{};       ///< to the next refill
  Loop::Timer settle{};     ///< while armed, none is made in the background
  std::uint64_t renewals = 0;
  bool closed = false;

  State(Loop& on, Settings wishes) : loop(on), settings(std::move(wishes)), wanted(settings.keep) {}

  static Task<Result<Taken>> open(std::shared_ptr<State> self, ByteSpan first, TimePoint deadline, Cancel* cancel);
  static Task<void> open_idle(std::shared_ptr<State> self);
  static void refill(const std::shared_ptr<State>& self);
  static void refill_soon(const std::shared_ptr<State>& self);
  static void arm(const std::shared_ptr<State>& self);
  static void look(const std::shared_ptr<State>& self);
  void back_off(const Error& error);
  [[nodiscard]] std::chrono::milliseconds check_after() const;
};

Task<Result<WarmPool::Taken>> WarmPool::State::open(std::shared_ptr<State> self, ByteSpan first, TimePoint deadline,
                                                        Cancel* cancel) {
  const auto& options = self->settings;
  auto connect_options = options.connect;
  connect_options.cancel = cancel;
  connect_options.speaks_at_once = options.tls || options.prepare || !first.empty();
  if (options.tls || options.prepare) first = {};  // what is said first is the ClientHello, or a greeting
  auto connected = co_await connect(self->loop, options.to, connect_options, first, deadline);
  if (!connected) co_return fail(std::move(connected.error()));
  Taken opened{nullptr, connected->sent, false};
  if (options.tls) {
    auto shaken = co_await TlsStream::connect(std::move(connected->stream), options.to, *options.tls, options.identity, deadline, cancel);
    if (!shaken) {
      auto error = std::move(shaken.error());
      if (error.where.empty()) error.where = options.to.text();
      co_return fail(std::move(error));
    }
    ++self->handshakes;
    if ((*shaken)->resumed()) ++self->resumed;
    opened.stream = std::move(*shaken);
  } else {
    opened.stream = std::move(connected->stream);
  }
  if (options.prepare) {
    const Cancel::Stage stage(cancel, *opened.stream);
    auto ready = co_await options.prepare(*opened.stream, deadline);
    if (!ready) {
      auto error = std::move(ready.error());
      if (error.where.empty()) error.where = options.to.text();
      co_return fail(std::move(error));
    }
  }
  co_return opened;
}

std::chrono::milliseconds WarmPool::State::check_after() const {
  const auto usual = std::min(std::chrono::milliseconds(limits::warm_pool_check_ms), settings.idle);
  if (next_try <= loop.now()) return usual;
  return std::min(usual, std::chrono::ceil<std::chrono::milliseconds>(next_try - loop.now()));
}

void WarmPool::State::back_off(const Error& error) {
  ++failed;
  if (pause_ms == 0)
    log::warn("pool", "cannot keep connections ready", {{"proxy", settings.to.text()}, {"why", error.text()}});
  pause_ms = std::clamp(pause_ms * 2, limits::warm_pool_retry_min_ms, limits::warm_pool_retry_max_ms);
  next_try = loop.now() + std::chrono::milliseconds(pause_ms);
}

Task<void> WarmPool::State::open_idle(std::shared_ptr<State> self) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms);
  Cancel cancel;
  self->openings.insert(&cancel);
  const auto renewals = self->renewals;
  auto opened = co_await open(self, {}, deadline, &cancel);
  self->openings.erase(&cancel);
  --self->opening;
  if (self->closed) co_return;
  if (renewals != self->renewals) {
    refill(self);
  } else if (!opened) {
    self->back_off(opened.error());
  } else if (self->settings.connect.multipath && fell_back_on_loss(opened->stream->fd())) {
    refill(self);  // the next one has MPTCP again, or this end has learned to do without
  } else if (self->wanted > 0) {
    self->idle.push_back({std::move(opened->stream), self->loop.now()});
  }
  arm(self);
}

void WarmPool::State::refill(const std::shared_ptr<State>& self) {
  if (self->closed || self->settle.armed() || Clock::now() < self->next_try) return;
  while (self->idle.size() + self->opening < self->wanted && Clock::now() >= self->next_try) {
    ++self->opening;
    spawn(open_idle(self));
  }
}

/// Begun at once it would stand in the way of the request that took one, and where both legs are equally long its TLS handshake computes
/// just when the answer arrives, at both ends.
void WarmPool::State::refill_soon(const std::shared_ptr<State>& self) {
  if (self->idle.size() * 2 < self->wanted) {
    refill(self);
  } else if (!self->soon.armed() && self->idle.size() < self->wanted) {
    self->soon = self->loop.after(std::chrono::milliseconds(limits::warm_pool_refill_ms), [weak = std::weak_ptr(self)] {
      if (const auto strong = weak.lock()) {
        strong->soon = {};
        refill(strong);
      }
    });
  }
}

void WarmPool::State::arm(const std::shared_ptr<State>& self) {
  if (self->closed || self->check.armed() || self->settings.keep == 0) return;
  // Weak: a timer must not keep the pool alive.
  self->check = self->loop.after(self->check_after(), [weak = std::weak_ptr(self)] {
    if (const auto strong = weak.lock()) look(strong);
  });
}

void WarmPool::State::look(const std::shared_ptr<State>& self) {
  self->check = {};
  const auto now = self->loop.now();
  const auto before = self->idle.size();
  bool ended_by_peer = false;
  std::erase_if(self->idle, [&](const Idle& entry) {
    const bool silent = is_silent(*entry.stream);
    ended_by_peer = ended_by_peer || (!silent && now - entry.since < std::chrono::seconds(limits::warm_pool_short_life_s));
    return !silent || now - entry.since > self->settings.idle;
  });
  self->lost += before - self->idle.size();
  if (ended_by_peer) {
    // A peer that ends what it accepted (a certificate it does not like, a limit) is not helped by more of the same.
    self->back_off(Error{Code::reset, "the proxy ends unused connections"});
  } else if (!self->idle.empty()) {
    self->pause_ms = 0;
  }
  // Misses since the last look: more were wanted than stood ready.
  if (self->settle.armed()) {
    // None can stand ready now: that says nothing of how many are wanted.
  } else if (self->misses > self->misses_seen && self->pause_ms == 0) {
    self->wanted = std::min<std::size_t>(self->wanted * 2,
                                         std::max<std::size_t>(self->settings.keep, limits::warm_pool_connections_most));
  } else if (self->wanted > self->settings.keep) {
    --self->wanted;
  }
  self->misses_seen = self->misses;
  refill(self);
  arm(self);
}

WarmPool::WarmPool(Loop& loop, Settings settings) : state_(std::make_shared<State>(loop, std::move(settings))) {
  State::refill(state_);
  State::arm(state_);
}

WarmPool::~WarmPool() {
  state_->closed = true;
  state_->check.cancel();
  state_->soon.cancel();
  state_->settle.cancel();
  state_->idle.clear();
  for (auto* opening : state_->openings) opening->cancel({Code::internal, "the pool is closed"});
}

void WarmPool::renew() {
  auto& state = *state_;
  if (state.wanted == 0) return;
  ++state.renewals;
  state.lost += state.idle.size();
  state.idle.clear();
  for (auto* opening : state.openings) opening->cancel({Code::internal, "the ways to the proxy have changed"});
  state.next_try = {};  // what failed before may do now
  if (state.settle.armed()) return;
  state.settle = state.loop.after(std::chrono::milliseconds(limits::warm_pool_settle_ms), [weak = std::weak_ptr(state_)] {
    if (const auto strong = weak.lock()) {
      strong->settle = {};
      State::refill(strong);
    }
  });
}

void WarmPool::keep_none() {
  state_->settings.keep = 0;
  state_->wanted = 0;
  state_->idle.clear();
  state_->check.cancel();
}

std::unique_ptr<Stream> WarmPool::take_ready() {
  auto& state = *state_;
  std::unique_ptr<Stream> taken;
  while (!state.idle.empty() && !taken) {
    // The youngest: the least likely to have been forgotten by a firewall between.
    auto entry = std::move(state.idle.back());
    state.idle.pop_back();
    if (is_silent(*entry.stream)) {
      taken = std::move(entry.stream);
    } else {
      ++state.lost;
    }
  }
  ++(taken ? state.hits : state.misses);
  State::refill_soon(state_);
  return taken;
}

Task<Result<WarmPool::Taken>> WarmPool::take(ByteSpan first, TimePoint deadline, Cancel* cancel) {
  if (auto ready = take_ready()) co_return Taken{std::move(ready), 0, true};
  const auto state = state_;
  auto made = co_await State::open(state, first, deadline, cancel);
  if (made && made->sent == 0 && state->settings.connect.multipath && fell_back_on_loss(made->stream->fd())) {
    // Once more: the link is back, and the flow is to have MPTCP for its whole life.
    made = co_await State::open(state, first, deadline, cancel);
  }
  co_return made;
}

std::uint64_t WarmPool::hits() const {
  return state_->hits;
}
std::uint64_t WarmPool::misses() const {
  return state_->misses;
}
std::uint64_t WarmPool::lost() const {
  return state_->lost;
}
std::uint64_t WarmPool::failed() const {
  return state_->failed;
}
std::size_t WarmPool::idle() const {
  return state_->idle.size();
}
std::uint64_t WarmPool::handshakes() const {
  return state_->handshakes;
}
std::uint64_t WarmPool::resumed() const {
  return state_->resumed;
}

}  // namespace epif::net
