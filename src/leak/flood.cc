#include "leak/flood.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <deque>

#include "base/fd.h"
#include "leak/bare_lab.h"
#include "leak/packet.h"
#include "leak/ways.h"
#include "net/tcp.h"

namespace epif::leak {
namespace {

constexpr std::uint16_t port = 9;
constexpr std::size_t open_connections = 16;
constexpr int rounds_a_line = 10;
constexpr int pause_ms = 1;

volatile std::sig_atomic_t stop_asked = 0;
void ask_to_stop(int) { stop_asked = 1; }

/// The kinds that bear the token, by the letter behind it.
struct Kind {
  char letter;
  std::string_view name;
};
constexpr std::array kinds{Kind{'u', "udp"}, Kind{'r', "raw"}, Kind{'f', "frame"}, Kind{'d', "frame-disguised"}};

IpAddress address_of(FloodTo to, bool v6) { return to == FloodTo::target ? BareLab::target(v6) : BareLab::witness(v6); }

class Flood {
 public:
  Flood(const std::string& token, FloodTo to) : token_(token), to_(to) {
    for (const bool v6 : {false, true}) {
      datagram_[v6] = Fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      raw_[v6] = Fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
    }
    wire_ = Fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }

  void round() {
    for (const bool v6 : {false, true}) {
      const auto target = address_of(to_, v6);
      connect(v6, target);
      const auto data = marked('u');
      send(datagram_[v6], data, {target, port});
      send(raw_[v6], packet(v6, 'r'), {target, 0});
      frame(packet(v6, 'f'), v6, v6 ? ETH_P_IPV6 : ETH_P_IP);
      frame(packet(v6, 'd'), v6, 0x1234);
    }
  }

 private:
  [[nodiscard]] Bytes marked(char letter) const {
    const auto text = token_ + letter;
    const auto bytes = as_bytes(text);
    return {bytes.begin(), bytes.end()};
  }
  [[nodiscard]] Bytes packet(bool v6, char letter) const {
    const Ends ends{BareLab::near_address(v6), address_of(to_, v6)};
    return ip_packet(ends, 17, udp_datagram(ends, 4013, port, marked(letter)));
  }
  /// Errors are expected: what is refused did not leave.
  static void send(const Fd& socket, ByteSpan data, const SocketAddress& to) {
    sockaddr_storage place{};
    const auto length = net::to_sockaddr(to, place);
    static_cast<void>(!::sendto(socket.get(), data.data(), data.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&place), length));
  }
  void connect(bool v6, const IpAddress& target) {
    connections_.emplace_back(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_storage place{};
    const auto length = net::to_sockaddr({target, port}, place);
    static_cast<void>(!::connect(connections_.back().get(), reinterpret_cast<const sockaddr*>(&place), length));
    if (connections_.size() > open_connections) connections_.pop_front();
  }
  void frame(ByteSpan inner, bool v6, std::uint16_t declared) {
    const auto whole = ethernet(v6 ? ETH_P_IPV6 : ETH_P_IP, inner);
    for (const auto device : {BareLab::device, BareLab::second_device}) {
      sockaddr_ll to{};
      to.sll_family = AF_PACKET;
      to.sll_ifindex = static_cast<int>(::if_nametoindex(std::string(device).c_str()));
      to.sll_protocol = htons(declared);
      static_cast<void>(!::sendto(wire_.get(), whole.data(), whole.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to));
    }
  }

  const std::string& token_;
  FloodTo to_;
  std::array<Fd, 2> datagram_;
  std::array<Fd, 2> raw_;
  Fd wire_;
  std::deque<Fd> connections_;
};

/// True once stdin has ended; waits a moment otherwise.
bool told_to_end() {
  pollfd input{0, POLLIN, 0};
  if (::poll(&input, 1, pause_ms) <= 0) return false;
  std::array<char, 64> ignored{};
  return ::read(0, ignored.data(), ignored.size()) <= 0;
}

}  // namespace

void flood(const std::string& token, FloodTo to) {
  struct sigaction action {};
  action.sa_handler = ask_to_stop;
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::fcntl(1, F_SETFL, ::fcntl(1, F_GETFL) | O_NONBLOCK);
  Flood sender(token, to);
  int left = rounds_after_stop;
  for (std::uint64_t round = 1; left > 0 && !told_to_end(); ++round) {
    sender.round();
    if (stop_asked != 0) --left;
    if (round % rounds_a_line != 0) continue;
    const auto line = std::to_string(round) + "\n";
    static_cast<void>(!::write(1, line.data(), line.size()));
  }
}

const std::set<std::string>& flood_kinds() {
  static const std::set<std::string> all = [] {
    std::set<std::string> names;
    for (const auto* family : {"/v4", "/v6"}) {
      names.insert(std::string("tcp") + family);
      for (const auto& kind : kinds) names.insert(std::string(kind.name) + family);
    }
    return names;
  }();
  return all;
}

std::string flood_kind(const Leaving& packet, std::string_view token, FloodTo to) {
  const auto text = as_text(packet.bytes);
  const auto at = text.find(token);
  if (at != text.npos && at + token.size() < text.size()) {
    for (const auto& kind : kinds) {
      if (kind.letter != text[at + token.size()]) continue;
      return std::string(kind.name) + (packet.header && packet.header->to.is_v6() ? "/v6" : "/v4");
    }
  }
  if (!packet.header) return {};
  const bool v6 = packet.header->to.is_v6();
  if (packet.header->to != address_of(to, v6) || packet.header->neighbour) return {};
  return packet.header->protocol == 6 ? (v6 ? "tcp/v6" : "tcp/v4") : "other";
}

}  // namespace epif::leak
