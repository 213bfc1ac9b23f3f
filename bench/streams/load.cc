#include "load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/fd.h"
#include "mqtt.h"

namespace epif::bench {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t answer_deadline_ns = 10 * second_ns;  // of a CONNECT, and of the last messages of a phase
constexpr std::size_t read_bytes = 64 * 1024;
constexpr int events_at_once = 256;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * second_ns + now.tv_nsec;
}

std::unexpected<Error> failed(std::string what, const Wish& wish) {
  return fail(Code::io, std::move(what), wish.address + ":" + std::to_string(wish.port), std::strerror(errno));
}

Result<Fd> connected(const std::string& address, std::uint16_t port, const Wish& wish) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  if (::inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1)
    return fail(Code::usage, "expected an IPv4 address", address);
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (!fd || ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
    return failed("cannot make a socket", wish);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return failed("cannot connect", wish);
  if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) return failed("cannot set a socket up", wish);
  return fd;
}

/// A socket keeps the namespace that it was made in, so the subscriber needs no process of its own.
Result<Fd> connected_inside(const Wish& wish) {
  const Fd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!wish.subscriber_netns.empty()) {
    const Fd there(::open(wish.subscriber_netns.c_str(), O_RDONLY | O_CLOEXEC));
    if (!there || ::setns(there.get(), CLONE_NEWNET) != 0) return failed("cannot enter " + wish.subscriber_netns, wish);
  }
  auto fd = connected(wish.subscriber_address, wish.subscriber_port, wish);
  if (::setns(home.get(), CLONE_NEWNET) != 0) return failed("cannot leave " + wish.subscriber_netns, wish);
  return fd;
}

}  // namespace

struct Load::State {
  struct Connection {
    Fd fd;
    std::string topic;
    Bytes in, out;
    std::size_t written = 0;  // of `out`
    std::uint16_t last_id = 0;
    unsigned waiting = 0;   // messages without their PUBACK
    bool answered = false;  // CONNACK, and SUBACK of the subscriber
    bool writing = false;   // epoll tells when there is room
  };
  Wish wish;
  Fd epoll;
  std::vector<Connection> connections;  // the last one is the subscriber
  Bytes payload;
  unsigned window = 0;     // of the running phase; 0: paced
  std::int64_t until = 0;  // no new message after this
  std::uint64_t sent = 0;
  std::int64_t last_delivery = 0;
  std::vector<std::int64_t> latencies;

  Connection& subscriber() { return connections.back(); }

  Result<> open_all() {
    epoll.reset(::epoll_create1(EPOLL_CLOEXEC));
    connections.resize(wish.connections + 1);
    for (std::size_t i = 0; i < connections.size(); ++i) {
      const bool last = i + 1 == connections.size();
      auto fd = last ? connected_inside(wish) : connected(wish.address, wish.port, wish);
      if (!fd) return fail(fd.error());
      auto& one = connections[i];
      one.fd = std::move(*fd);
      one.topic = "bench/" + std::to_string(i);
      one.out = mqtt::connect("load-" + std::to_string(i));
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, one.fd.get(), &event) != 0) return failed("cannot watch a socket", wish);
      if (auto done = flush(i); !done) return done;
    }
    if (auto all = wait_for_answers(); !all) return all;
    subscriber().answered = false;
    subscriber().out = mqtt::subscribe("bench/#");
    if (auto done = flush(wish.connections); !done) return done;
    return wait_for_answers();
  }

  Result<> wait_for_answers() {
    const auto deadline = now_ns() + answer_deadline_ns;
    while (!std::all_of(connections.begin(), connections.end(), [](const auto& one) { return one.answered; })) {
      if (now_ns() > deadline) return fail(Code::timeout, "the broker does not answer all connections");
      if (auto done = turn(now_ns() + second_ns / 10); !done) return done;
    }
    return {};
  }

  void put(std::size_t index, std::int64_t due) {
    auto& one = connections[index];
    one.last_id = static_cast<std::uint16_t>(one.last_id == 0xffff ? 1 : one.last_id + 1);
    store_u64(payload.data(), static_cast<std::uint64_t>(due));
    mqtt::publish(one.out, one.topic, one.last_id, payload);
    ++one.waiting;
    ++sent;
  }

  Result<> flush(std::size_t index) {
    auto& one = connections[index];
    while (one.written < one.out.size()) {
      const auto n = ::send(one.fd.get(), one.out.data() + one.written, one.out.size() - one.written, MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return failed("cannot send", wish);
      one.written += static_cast<std::size_t>(n);
    }
    const bool rest = one.written < one.out.size();
    if (!rest) one.out.clear(), one.written = 0;
    if (rest != one.writing) {
      epoll_event event{.events = rest ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.u64 = index}};
      if (::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, one.fd.get(), &event) != 0) return failed("cannot watch a socket", wish);
      one.writing = rest;
    }
    return {};
  }

  Result<> read(std::size_t index) {
    auto& one = connections[index];
    std::array<std::uint8_t, read_bytes> buffer;
    const auto n = ::recv(one.fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EAGAIN) return {};
    if (n < 0) return failed("a connection broke", wish);
    if (n == 0) return fail(Code::reset, "a connection was closed", one.topic);
    one.in.insert(one.in.end(), buffer.data(), buffer.data() + n);
    const auto now = now_ns();
    std::size_t used = 0;
    for (;;) {
      const auto packet = mqtt::next(ByteSpan(one.in).subspan(used));
      if (!packet) return fail(packet.error());
      if (!*packet) break;
      used += (*packet)->length;
      take(one, **packet, now);
    }
    one.in.erase(one.in.begin(), one.in.begin() + static_cast<std::ptrdiff_t>(used));
    if (window > 0 && now < until && &one != &subscriber()) {
      while (one.waiting < window) put(index, now);
      return flush(index);
    }
    return {};
  }

  void take(Connection& one, const mqtt::Packet& packet, std::int64_t now) {
    switch (packet.type) {
      case mqtt::Type::connack:
      case mqtt::Type::suback: one.answered = true; break;
      case mqtt::Type::puback:
        if (one.waiting > 0) --one.waiting;
        break;
      case mqtt::Type::publish:
        if (packet.body.size() < 8) break;
        latencies.push_back(now - static_cast<std::int64_t>(load_u64(packet.body.data())));
        last_delivery = now;
        break;
    }
  }

  /// One look at all sockets, until `wake` at the latest.
  Result<> turn(std::int64_t wake) {
    const auto rest = std::max<std::int64_t>(wake - now_ns(), 0);
    const timespec patience{.tv_sec = rest / second_ns, .tv_nsec = rest % second_ns};
    std::array<epoll_event, events_at_once> events;
    const int n = ::epoll_pwait2(epoll.get(), events.data(), events_at_once, &patience, nullptr);
    if (n < 0 && errno != EINTR) return failed("cannot wait for sockets", wish);
    for (int i = 0; i < n; ++i) {
      const auto& event = events[static_cast<std::size_t>(i)];
      if ((event.events & EPOLLOUT) != 0) {
        if (auto done = flush(event.data.u64); !done) return done;
      }
      if ((event.events & ~std::uint32_t{EPOLLOUT}) != 0) {
        if (auto done = read(event.data.u64); !done) return done;
      }
    }
    return {};
  }

  void begin(unsigned wished_window, double seconds) {
    window = wished_window;
    sent = 0;
    latencies.clear();
    until = now_ns() + static_cast<std::int64_t>(seconds * second_ns);
  }

  /// Waits for what is under way; what has not come by then is lost.
  Result<Measured> end(std::int64_t started) {
    const auto deadline = now_ns() + answer_deadline_ns;
    while (latencies.size() < sent && now_ns() < deadline) {
      if (auto done = turn(now_ns() + second_ns / 100); !done) return fail(done.error());
    }
    Measured made{
        .sent = sent, .delivered = latencies.size(), .seconds = static_cast<double>(last_delivery - started) / second_ns};
    if (latencies.empty()) return fail(Code::timeout, "no message was delivered");
    std::sort(latencies.begin(), latencies.end());
    const auto at = [&](double share) {
      return static_cast<double>(latencies[static_cast<std::size_t>(share * static_cast<double>(latencies.size() - 1))]) /
             1e6;
    };
    made.p50_ms = at(0.5), made.p95_ms = at(0.95), made.p99_ms = at(0.99), made.max_ms = at(1);
    return made;
  }
};

Load::Load(std::unique_ptr<State> state) : state_(std::move(state)) {}
Load::Load(Load&&) noexcept = default;
Load::~Load() = default;

Result<Load> Load::open(const Wish& wish) {
  assert(wish.connections > 0 && wish.payload_bytes >= 8);
  ::prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  auto state = std::make_unique<State>();
  state->wish = wish;
  state->payload.assign(wish.payload_bytes, 'x');
  if (auto opened = state->open_all(); !opened) return fail(opened.error());
  return Load(std::move(state));
}

Result<Measured> Load::paced(double per_second, double seconds) {
  auto& state = *state_;
  state.begin(0, seconds);
  const auto started = now_ns();
  const auto step_ns = static_cast<double>(second_ns) / per_second;
  for (std::uint64_t number = 0;; ++number) {
    const auto due = started + static_cast<std::int64_t>(static_cast<double>(number) * step_ns);
    if (due >= state.until) break;
    while (now_ns() < due) {
      if (auto done = state.turn(due); !done) return fail(done.error());
    }
    const std::size_t index = number % state.wish.connections;
    state.put(index, due);
    if (auto done = state.flush(index); !done) return fail(done.error());
  }
  return state.end(started);
}

Result<Measured> Load::window(unsigned window, double seconds) {
  auto& state = *state_;
  state.begin(window, seconds);
  const auto started = now_ns();
  for (std::size_t index = 0; index < state.wish.connections; ++index) {
    while (state.connections[index].waiting < window) state.put(index, started);
    if (auto done = state.flush(index); !done) return fail(done.error());
  }
  while (now_ns() < state.until) {
    if (auto done = state.turn(state.until); !done) return fail(done.error());
  }
  return state.end(started);
}

}  // namespace epif::bench
