// link_emulator: joins network namespaces by links with a delay, a loss and a rate, where the kernel has no netem.
//
//   link_emulator NETNS:DEVICE=NETNS:DEVICE,rtt=5ms[,loss=0.01][,rate=200mbit] ...
//
// Makes a TAP device at both ends of each link (the caller gives them addresses) and carries frames between them until
// SIGTERM or SIGINT; each direction delays by half of the RTT. Prints "ready" when all devices are there.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "delay_line.h"

namespace epif::bench {
namespace {

constexpr std::size_t frame_max_bytes = 65'536;
constexpr int frames_at_once = 64;
constexpr std::int64_t awake_before_ns = 200'000;

struct End {
  std::string netns;
  std::string device;
};
struct LinkWish {
  End a, b;
  Character character;
};

Result<double> number(std::string_view text, std::string_view unit, std::string_view whole) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || std::string_view(end, static_cast<std::size_t>(text.data() + text.size() - end)) != unit || value < 0) {
    return fail(Code::usage, "expected a number with the unit '" + std::string(unit) + "'", std::string(whole));
  }
  return value;
}

Result<End> parse_end(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == text.npos || colon == 0 || colon + 1 == text.size() || text.size() - colon > IFNAMSIZ) {
    return fail(Code::usage, "expected NETNS:DEVICE", std::string(text));
  }
  return End{std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

Result<LinkWish> parse_link(std::string_view text) {
  const auto comma = std::min(text.find(','), text.size());
  const auto ends = text.substr(0, comma);
  const auto equals = ends.find('=');
  if (equals == ends.npos) return fail(Code::usage, "expected NETNS:DEVICE=NETNS:DEVICE", std::string(text));
  auto a = parse_end(ends.substr(0, equals));
  if (!a) return fail(a.error());
  auto b = parse_end(ends.substr(equals + 1));
  if (!b) return fail(b.error());
  LinkWish wish{std::move(*a), std::move(*b), {}};
  for (auto rest = text.substr(comma); !rest.empty();) {
    rest.remove_prefix(1);
    const auto end = std::min(rest.find(','), rest.size());
    const auto item = rest.substr(0, end);
    rest.remove_prefix(end);
    const auto value = item.substr(std::min(item.find('=') + 1, item.size()));
    Result<double> read = fail(Code::usage, "unknown setting; there are rtt, loss and rate", std::string(item));
    if (item.starts_with("rtt=")) {
      read = number(value, "ms", item);
      if (read) wish.character.delay = std::chrono::nanoseconds(static_cast<std::int64_t>(*read * 1e6 / 2));
    } else if (item.starts_with("loss=")) {
      read = number(value, "", item);
      if (read) wish.character.loss = std::min(*read, 1.0);
    } else if (item.starts_with("rate=")) {
      read = number(value, "mbit", item);
      if (read) wish.character.bits_per_s = static_cast<std::uint64_t>(*read * 1e6);
    }
    if (!read) return fail(read.error());
  }
  return wish;
}

/// A TAP device in `end`'s namespace, up, its descriptor non-blocking. It vanishes with the descriptor.
Result<Fd> make_tap(const End& end) {
  const auto path = "/run/netns/" + end.netns;
  const Fd home(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  const Fd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there) return fail(system_error(errno, "cannot open the network namespace", path));
  if (::setns(there.get(), CLONE_NEWNET) != 0) return fail(system_error(errno, "cannot enter the network namespace", path));
  Fd tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  std::memcpy(request.ifr_name, end.device.c_str(), end.device.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  const bool made = tap && ::ioctl(tap.get(), TUNSETIFF, &request) == 0;
  const int failure = errno;
  if (::setns(home.get(), CLONE_NEWNET) != 0) return fail(system_error(errno, "cannot go back to the own namespace"));
  if (!made) return fail(system_error(failure, "cannot make the device " + end.device, end.netns));
  return tap;
}

/// One direction: what is read at `from` comes out at `to`.
struct Direction {
  int from;
  int to;
  DelayLine line;

  void receive(MutableByteSpan buffer, Clock::time_point now) {
    for (int i = 0; i < frames_at_once; ++i) {
      const auto got = ::read(from, buffer.data(), buffer.size());
      if (got <= 0) return;
      line.put(Bytes(buffer.begin(), buffer.begin() + got), now);
    }
  }
  void deliver(Clock::time_point now) {
    while (auto frame = line.take(now)) {
      // A device that is down or full loses the frame, as a wire does.
      [[maybe_unused]] const auto put = ::write(to, frame->data(), frame->size());
    }
  }
};

/// Waits with a timer of nanoseconds: the millisecond of epoll_wait would be a fifth of the shortest RTT.
int wait(int epoll, std::array<epoll_event, 16>& events, const std::vector<std::unique_ptr<Direction>>& directions) {
  std::optional<Clock::time_point> next;
  for (const auto& direction : directions) {
    const auto due = direction->line.due();
    if (due && (!next || *due < *next)) next = due;
  }
  if (!next) return ::epoll_pwait2(epoll, events.data(), events.size(), nullptr, nullptr);
  // A processor that sleeps wakes late: the last stretch is spent awake.
  const auto left = std::max<std::int64_t>(std::chrono::nanoseconds(*next - Clock::now()).count() - awake_before_ns, 0);
  const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  return ::epoll_pwait2(epoll, events.data(), events.size(), &timeout, nullptr);
}

Result<> carry(const std::vector<LinkWish>& wishes) {
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGINT);
  sigaddset(&stops, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &stops, nullptr);
  const Fd signals(::signalfd(-1, &stops, SFD_CLOEXEC));
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  ::prctl(PR_SET_TIMERSLACK, 1);
  // Late frames are wrong results: run before what is measured. It sleeps nearly always.
  const sched_param priority{1};
  ::sched_setscheduler(0, SCHED_FIFO, &priority);

  std::vector<Fd> taps;
  std::vector<std::unique_ptr<Direction>> directions;
  const auto watch = [&](int fd, Direction* direction) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = direction;
    return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  };
  watch(signals.get(), nullptr);
  for (const auto& wish : wishes) {
    auto a = make_tap(wish.a);
    if (!a) return fail(a.error());
    auto b = make_tap(wish.b);
    if (!b) return fail(b.error());
    const auto seed = directions.size() + 1;
    directions.push_back(std::make_unique<Direction>(a->get(), b->get(), DelayLine(wish.character, seed)));
    watch(a->get(), directions.back().get());
    directions.push_back(std::make_unique<Direction>(b->get(), a->get(), DelayLine(wish.character, seed + 1)));
    watch(b->get(), directions.back().get());
    taps.push_back(std::move(*a));
    taps.push_back(std::move(*b));
  }
  std::puts("ready");
  std::fflush(stdout);

  Bytes buffer(frame_max_bytes);
  std::array<epoll_event, 16> events;
  for (;;) {
    const int count = wait(epoll.get(), events, directions);
    const auto now = Clock::now();
    for (int i = 0; i < count; ++i) {
      auto* direction = static_cast<Direction*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (direction == nullptr) return {};
      direction->receive(buffer, now);
    }
    for (const auto& direction : directions) direction->deliver(Clock::now());
  }
}

int run(int count, char** words) {
  std::vector<LinkWish> wishes;
  for (int i = 1; i < count; ++i) {
    auto wish = parse_link(words[i]);
    if (!wish) {
      std::fprintf(stderr, "link_emulator: %s\n", wish.error().text().c_str());
      return 2;
    }
    wishes.push_back(std::move(*wish));
  }
  if (wishes.empty()) {
    std::fprintf(stderr, "usage: link_emulator NETNS:DEVICE=NETNS:DEVICE,rtt=5ms[,loss=0.01][,rate=200mbit] ...\n");
    return 2;
  }
  const auto done = carry(wishes);
  if (!done) std::fprintf(stderr, "link_emulator: %s\n", done.error().text().c_str());
  return done ? 0 : 1;
}

}  // namespace
}  // namespace epif::bench

int main(int argc, char** argv) { return epif::bench::run(argc, argv); }
