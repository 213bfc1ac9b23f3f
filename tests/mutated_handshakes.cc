// Sends handshakes with a few bytes changed to a proxy, many at once and very many in all, and is the server behind it.
//
//   mutated_handshakes PORT COUNT SEED LISTENER < messages
//
// The messages stand in stdin, in hexadecimal, one a line. COUNT of them, each changed anew as SEED wants it, go to 127.0.0.1:PORT,
// cut anywhere, ended by FIN or RST or neither, their answers read or not. LISTENER is an inherited descriptor; what connects there
// gets back what it sends. Prints what it counted. Exits 1 if it could not, or if a client that had ended, or a connection to the server,
// met no end itself.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <random>
#include <string>
#include <system_error>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"

using namespace epif;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t at_once = 96;
constexpr std::chrono::seconds patience{10};  // of a client that has ended, of a quiet server, and of all clients for a free port

/// Numbers that are the same everywhere for a seed; the distributions of the library are not.
class Chance {
 public:
  explicit Chance(std::uint64_t seed) : engine_(seed) {}
  std::size_t below(std::size_t limit) { return engine_() % limit; }
  std::uint8_t byte() { return static_cast<std::uint8_t>(engine_()); }

 private:
  std::mt19937_64 engine_;
};

void change_once(Bytes& made, Chance& chance) {
  const auto at = made.begin() + static_cast<std::ptrdiff_t>(made.empty() ? 0 : chance.below(made.size()));
  const auto what = chance.below(5);
  if (what == 2) {
    std::array<std::uint8_t, 8> more{};
    std::ranges::generate(more, [&] { return chance.byte(); });
    made.insert(at, more.begin(), more.begin() + static_cast<std::ptrdiff_t>(1 + chance.below(more.size())));
    return;
  }
  if (made.empty()) return;
  if (what == 0) *at = chance.byte();
  if (what == 1) *at = static_cast<std::uint8_t>(*at ^ (1U << chance.below(8)));
  if (what == 3) made.erase(at, at + std::min<std::ptrdiff_t>(made.end() - at, static_cast<std::ptrdiff_t>(1 + chance.below(8))));
  if (what == 4) made.erase(at, made.end());
}

Bytes mutated(Bytes made, Chance& chance) {
  constexpr std::array<int, 5> times{1, 1, 1, 2, 4};
  for (int left = times[chance.below(times.size())]; left > 0; --left) change_once(made, chance);
  if (made.empty()) made.push_back(6);
  return made;
}

/// One handshake, on its way or to be.
struct Client {
  Fd socket;
  Bytes message;
  std::size_t cut = 0;
  std::size_t told = 0; ///< of the message
  bool ends = false;    ///< by FIN, and then reads up to the proxy's end
  bool aborts = false;  ///< closes by RST
  bool spoken = false;
  bool answered = false;
  Clock::time_point since{};
};

/// A connection that reached the server.
struct Echo {
  Fd socket;
  Clock::time_point heard = Clock::now();
};

struct Counts {
  std::size_t sent = 0;
  std::size_t answered = 0;  ///< of those that read
  std::size_t refused = 0;   ///< that did not even connect
  std::size_t without_end = 0;
  std::size_t echoed = 0;    ///< connections that reached the server
  std::size_t echoes_without_end = 0;
};

class Storm {
 public:
  Storm(std::uint16_t port, std::size_t count, std::uint64_t seed, Fd listener, std::vector<Bytes> messages)
      : left_(count), chance_(seed), listener_(std::move(listener)), messages_(std::move(messages)), clients_(at_once) {
    to_.sin_family = AF_INET;
    to_.sin_port = htons(port);
    to_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
    watch(listener_.get(), EPOLLIN);
  }

  /// False if there was no free port for too long.
  bool run() {
    auto looked = Clock::now();
    while (left_ > 0 || under_way_ > 0 || !echoing_.empty()) {
      const bool starved = !begin_all();
      if (starved && Clock::now() - connected_ > patience) return false;
      const bool full = std::ranges::all_of(clients_, [](const Client& client) { return static_cast<bool>(client.socket); });
      wait(starved ? 1 : full || left_ == 0 ? 100 : 0);
      if (Clock::now() - looked < std::chrono::seconds(1)) continue;
      looked = Clock::now();
      for (auto& client : clients_) give_up(client, looked);
      counts_.echoes_without_end += std::erase_if(echoing_, [&](const auto& one) { return looked - one.second.heard >= patience; });
    }
    return true;
  }
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  void watch(int fd, std::uint32_t what) {
    epoll_event event{.events = what, .data = {.fd = fd}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  /// Begins one handshake in each free place. False if there is no port for the next.
  bool begin_all() {
    for (auto& client : clients_) {
      if (client.socket || (left_ == 0 && client.message.empty())) continue;
      if (client.message.empty()) think(client);
      if (!connect(client)) return false;
    }
    return true;
  }

  void think(Client& client) {
    --left_;
    client.message = mutated(messages_[chance_.below(messages_.size())], chance_);
    const auto manner = chance_.below(8);
    client.cut = (manner & 1) != 0 ? chance_.below(client.message.size()) : 0;
    client.ends = (manner & 2) != 0;
    client.aborts = (manner & 4) != 0;
    client.told = 0;
    client.spoken = client.answered = false;
  }

  bool connect(Client& client) {
    Fd made(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int yes = 1;
    ::setsockopt(made.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (::connect(made.get(), reinterpret_cast<const sockaddr*>(&to_), sizeof to_) != 0 && errno != EINPROGRESS) {
      if (errno == EADDRNOTAVAIL) return false;
      throw std::system_error(errno, std::generic_category(), "connect");
    }
    connected_ = client.since = Clock::now();
    ++under_way_;
    client.socket = std::move(made);
    places_[client.socket.get()] = &client;
    speak(client);  // on loopback it stands already
    if (client.socket) watch(client.socket.get(), client.spoken ? EPOLLIN : EPOLLIN | EPOLLOUT);
    return true;
  }

  /// Says the message up to `end`. False if not all of it went.
  bool send(Client& client, std::size_t end) {
    while (client.told < end) {
      const auto sent = ::send(client.socket.get(), client.message.data() + client.told, end - client.told, MSG_NOSIGNAL);
      if (sent < 0) return false;
      client.told += static_cast<std::size_t>(sent);
    }
    return true;
  }

  void speak(Client& client) {
    const bool all = send(client, client.cut) && send(client, client.message.size());
    if (!all && errno == EAGAIN) return;  // it does not stand yet, or takes no more now: from where it stopped, later
    ++(client.told != 0 ? counts_.sent : counts_.refused);
    client.spoken = true;
    if (!all || !client.ends) return leave(client);
    ::shutdown(client.socket.get(), SHUT_WR);
  }

  void hear(Client& client) {
    std::array<std::uint8_t, 4096> buffer{};
    for (;;) {
      const auto got = ::recv(client.socket.get(), buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return leave(client);
      if (!client.answered) ++counts_.answered;
      client.answered = true;
    }
  }

  void give_up(Client& client, Clock::time_point now) {
    if (!client.socket || now - client.since < patience) return;
    ++counts_.without_end;
    leave(client);
  }

  void leave(Client& client) {
    const linger abort{.l_onoff = 1, .l_linger = 0};
    if (client.aborts) ::setsockopt(client.socket.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    places_.erase(client.socket.get());
    client.socket.reset();
    client.message.clear();
    --under_way_;
  }

  void wait(int milliseconds) {
    std::array<epoll_event, 256> events{};
    const int found = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), milliseconds);
    for (int at = 0; at < found; ++at) {
      const int fd = events[static_cast<std::size_t>(at)].data.fd;
      const auto place = places_.find(fd);
      if (fd == listener_.get()) accept();
      else if (place == places_.end()) echo(fd);
      else if (!place->second->spoken) speak_late(*place->second);
      else hear(*place->second);
    }
  }

  void speak_late(Client& client) {
    speak(client);
    if (!client.socket || !client.spoken) return;
    epoll_event event{.events = EPOLLIN, .data = {.fd = client.socket.get()}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.socket.get(), &event);
  }

  void accept() {
    for (;;) {
      Fd made(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!made) return;
      ++counts_.echoed;
      watch(made.get(), EPOLLIN);
      const int fd = made.get();
      echoing_.emplace(fd, Echo{std::move(made)});
    }
  }

  void echo(int fd) {
    std::array<std::uint8_t, 4096> buffer{};
    const auto got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    const auto place = echoing_.find(fd);
    if (place == echoing_.end()) return;  // given up
    place->second.heard = Clock::now();
    // It was little: the socket takes it.
    if (got > 0 && ::send(fd, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) == got) return;
    echoing_.erase(place);
  }

  Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  sockaddr_in to_{};
  std::size_t left_;
  std::size_t under_way_ = 0;
  Clock::time_point connected_ = Clock::now();
  Chance chance_;
  Fd listener_;
  std::vector<Bytes> messages_;
  std::vector<Client> clients_;
  std::unordered_map<int, Client*> places_;  ///< clients by descriptor
  std::unordered_map<int, Echo> echoing_;
  Counts counts_;
};

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() != 4) return std::fputs("usage: mutated_handshakes PORT COUNT SEED LISTENER < messages\n", stderr), 2;
  std::vector<Bytes> messages;
  for (std::string line; std::cin >> line;) messages.push_back(from_hex(line));
  if (messages.empty() || std::ranges::any_of(messages, &Bytes::empty)) return std::fputs("no messages\n", stderr), 2;
  Storm storm(static_cast<std::uint16_t>(std::stoul(words[0])), std::stoul(words[1]), std::stoull(words[2]), Fd(std::stoi(words[3])),
              std::move(messages));
  const bool done = storm.run();
  const auto& counts = storm.counts();
  std::printf("{\"sent\": %zu, \"answered\": %zu, \"refused\": %zu, \"without_end\": %zu, \"echoed\": %zu, \"echoes_without_end\": %zu}\n", counts.sent, counts.answered,
              counts.refused, counts.without_end, counts.echoed, counts.echoes_without_end);
  if (!done) std::fputs("no free port\n", stderr);
  return done && counts.without_end == 0 && counts.echoes_without_end == 0 ? 0 : 1;
} catch (const std::exception& error) {
  return std::fprintf(stderr, "mutated_handshakes: %s\n", error.what()), 2;
}
