#include "observe/observe.h"

#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <memory>

#include "base/fd.h"
#include "net/tcp.h"
#include "net/tcp_table.h"
#include "observe/dns_answer.h"
#include "observe/draft.h"
#include "observe/program_of.h"
#include "observe/record.h"

namespace epif::observe {
namespace {

constexpr std::size_t whole_bytes = 2048;  // of DNS
constexpr std::size_t head_bytes = 128;    // of all others
constexpr int buffer_bytes = 32 * 1024 * 1024;
constexpr std::uint16_t dns_port = 53;
constexpr int look_ms = 200;

/// Keeps the beginnings and ends of TCP connections, DNS, and all datagrams, cut to what is needed, so that bulk costs nothing.
bool keep_what_counts(const Fd& socket, unsigned loopback) {
  const auto ancillary = [](std::uint32_t what) { return static_cast<std::uint32_t>(SKF_AD_OFF) + what; };
  constexpr std::uint8_t v4 = 5;
  constexpr std::uint8_t tcp4 = 8;
  constexpr std::uint8_t udp4 = 13;
  constexpr std::uint8_t v6 = 16;
  constexpr std::uint8_t tcp6 = 22;
  constexpr std::uint8_t udp6 = 26;
  constexpr std::uint8_t keep_all = 28;
  constexpr std::uint8_t keep_head = 29;
  constexpr std::uint8_t drop = 30;
  constexpr std::uint32_t syn_fin_rst = 7;
  std::array<sock_filter, 31> code{};
  std::uint8_t at = 0;
  const auto load = [&](std::uint16_t operation, std::uint32_t value) { code[at++] = {operation, 0, 0, value}; };
  const auto test = [&](std::uint16_t operation, std::uint32_t value, int yes, int no) {
    code[at] = {static_cast<std::uint16_t>(BPF_JMP | BPF_K | operation), static_cast<std::uint8_t>(yes - at - 1),
                static_cast<std::uint8_t>(no - at - 1), value};
    ++at;
  };
  load(BPF_LD | BPF_W | BPF_ABS, ancillary(SKF_AD_IFINDEX));
  test(BPF_JEQ, loopback, drop, 2);
  load(BPF_LD | BPF_W | BPF_ABS, ancillary(SKF_AD_PROTOCOL));
  test(BPF_JEQ, ETH_P_IP, v4, 4);
  test(BPF_JEQ, ETH_P_IPV6, v6, drop);
  load(BPF_LD | BPF_B | BPF_ABS, 9);
  test(BPF_JEQ, IPPROTO_TCP, tcp4, at + 1);
  test(BPF_JEQ, IPPROTO_UDP, udp4, drop);
  assert(at == tcp4);
  load(BPF_LDX | BPF_B | BPF_MSH, 0);
  load(BPF_LD | BPF_H | BPF_IND, 0);
  test(BPF_JEQ, dns_port, keep_all, at + 1);
  load(BPF_LD | BPF_B | BPF_IND, 13);
  test(BPF_JSET, syn_fin_rst, keep_head, drop);
  assert(at == udp4);
  load(BPF_LDX | BPF_B | BPF_MSH, 0);
  load(BPF_LD | BPF_H | BPF_IND, 0);
  test(BPF_JEQ, dns_port, keep_all, keep_head);
  assert(at == v6);
  load(BPF_LD | BPF_B | BPF_ABS, 6);
  test(BPF_JEQ, IPPROTO_TCP, tcp6, at + 1);
  test(BPF_JEQ, IPPROTO_UDP, udp6, at + 1);
  // Behind extension headers the program looks itself; they are rare.
  test(BPF_JEQ, IPPROTO_HOPOPTS, keep_all, at + 1);
  test(BPF_JEQ, IPPROTO_ROUTING, keep_all, at + 1);
  test(BPF_JEQ, IPPROTO_DSTOPTS, keep_all, drop);
  assert(at == tcp6);
  load(BPF_LD | BPF_H | BPF_ABS, 40);
  test(BPF_JEQ, dns_port, keep_all, at + 1);
  load(BPF_LD | BPF_B | BPF_ABS, 53);
  test(BPF_JSET, syn_fin_rst, keep_head, drop);
  assert(at == udp6);
  load(BPF_LD | BPF_H | BPF_ABS, 40);
  test(BPF_JEQ, dns_port, keep_all, keep_head);
  assert(at == keep_all);
  load(BPF_RET | BPF_K, whole_bytes);
  load(BPF_RET | BPF_K, head_bytes);
  load(BPF_RET | BPF_K, 0);
  const sock_fprog program{code.size(), code.data()};
  return ::setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

std::vector<IpAddress> own_addresses() {
  ifaddrs* list = nullptr;
  std::vector<IpAddress> found;
  if (::getifaddrs(&list) != 0) return found;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
  for (const auto* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    const auto family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const auto address = net::from_sockaddr(storage).ip;
    const bool link_local = address.is_v6() && address.bytes()[0] == 0xfe && (address.bytes()[1] & 0xc0) == 0x80;
    if (!link_local && std::ranges::find(found, address) == found.end()) found.push_back(address);
  }
  std::ranges::sort(found);
  return found;
}

class Observation {
 public:
  explicit Observation(Fd socket) : socket_(std::move(socket)), own_(own_addresses()) {}

  void watch(const ObserveWish& wish, const std::stop_token& stop) {
    note_standing();
    const auto limit = wish.duration.count() > 0 ? began_ + wish.duration : std::chrono::steady_clock::time_point::max();
    while (!stop.stop_requested() && std::chrono::steady_clock::now() < limit) {
      pollfd ready{socket_.get(), POLLIN, 0};
      ::poll(&ready, 1, look_ms);
      take_all();
      note_changes();
    }
    take_all();
    note_standing();
  }

  [[nodiscard]] std::string finish() {
    tpacket_stats stats{};
    socklen_t length = sizeof stats;
    ::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &length);
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    const auto passed = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began_);
    return draft(record_, {host.data(), own_, static_cast<std::uint64_t>(passed.count()), stats.tp_drops, blind_});
  }

 private:
  /// Connections that are older than the observation, or go on after it, show no beginning or no end: the kernel tells of them.
  void note_standing() {
    const auto table = net::tcp_table();
    if (!table) {
      blind_ = table.error().text();
      return;
    }
    take_all();  // a connection of the table that began while we watch is known by its first segment, which may wait here yet
    std::set<std::uint16_t> served;
    for (const auto& entry : *table) {
      if (entry.listens) served.insert(entry.local.port);
    }
    for (const auto& entry : *table) {
      const bool ours = std::ranges::binary_search(own_, entry.local.ip) && !std::ranges::binary_search(own_, entry.remote.ip);
      if (entry.listens || entry.connecting || !ours) continue;
      const bool outgoing = !served.contains(entry.local.port);
      const std::uint64_t syn = outgoing && entry.acked != 0 ? 1 : 0;  // the kernel counts the acknowledgement of our own
      const auto* flow = record_.take(Standing{entry.local, entry.remote, outgoing, entry.acked - syn, entry.received});
      if (flow != nullptr) look_for_program(*flow, entry.local, entry.remote);
    }
    take_all();
  }

  /// Addresses that came while we watched count from the next look on; those that went still are this node's.
  void note_changes() {
    for (const auto& address : own_addresses()) {
      const auto place = std::ranges::lower_bound(own_, address);
      if (place == own_.end() || *place != address) own_.insert(place, address);
    }
  }

  /// All that waits first, since asking the kernel for a socket is quick and walking over /proc is not.
  void take_all() {
    while (take_one()) {
    }
    if (waiting_.empty()) return;
    std::set<std::uint32_t> inodes;
    for (const auto& [flow, holder] : waiting_) inodes.insert(holder.inode);
    const auto commands = commands_with(std::move(inodes));
    for (const auto& [flow, holder] : waiting_) {
      const auto command = commands.find(holder.inode);
      record_.note_program(flow, {command == commands.end() ? std::string() : command->second, user_name(holder.user)});
    }
    waiting_.clear();
  }

  bool take_one() {
    std::array<std::uint8_t, whole_bytes> bytes;
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const auto got = ::recvfrom(socket_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0) return false;
    const bool sent = from.sll_pkttype == PACKET_OUTGOING;
    if (!sent && from.sll_pkttype != PACKET_HOST) return true;
    const auto segment = read_segment(ByteSpan(bytes).first(static_cast<std::size_t>(got)));
    // What is forwarded is another machine's.
    if (segment && std::ranges::binary_search(own_, sent ? segment->from.ip : segment->to.ip)) note(*segment, sent);
    return true;
  }

  void note(const Segment& segment, bool sent) {
    if (!sent && segment.from.port == dns_port) {
      constexpr std::size_t length_bytes = 2;  // before a message over TCP (RFC 1035, section 4.2.2)
      auto message = segment.payload;
      if (segment.kind != Segment::Kind::datagram) message = message.subspan(std::min(message.size(), length_bytes));
      if (const auto answer = read_dns_answer(message)) {
        for (const auto& address : answer->addresses) record_.name(address, answer->name);
      }
    }
    const auto* flow = record_.take(segment, sent);
    if (flow == nullptr) return;
    look_for_program(*flow, sent ? segment.from : segment.to, sent ? segment.to : segment.from);
  }

  void look_for_program(const FlowKey& flow, const SocketAddress& local, const SocketAddress& remote) {
    // Looking through /proc takes a while: again only as often as the count doubles.
    if (!std::has_single_bit(record_.flows().at(flow).connections)) return;
    const auto asked = flow.outgoing ? std::optional(remote) : std::nullopt;  // who serves listens; a connection may be over
    if (const auto holder = holder_of(flow.protocol, local, asked)) waiting_.emplace_back(flow, *holder);
  }

  Fd socket_;
  std::vector<IpAddress> own_;  ///< sorted
  Record record_;
  std::string blind_;  ///< why connections that stand could not be asked for; empty: they were
  std::vector<std::pair<FlowKey, Holder>> waiting_;  ///< whose programs are looked for next
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace

Result<std::string> observe(const ObserveWish& wish, const std::stop_token& stop) {
  Fd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail(system_error(errno, "cannot watch the devices", "packet socket"));
  sockaddr_ll all{};
  all.sll_family = AF_PACKET;
  all.sll_protocol = htons(ETH_P_ALL);
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) != 0 ||
      !keep_what_counts(socket, ::if_nametoindex("lo")) ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&all), sizeof all) != 0) {
    return fail(system_error(errno, "cannot watch the devices", "packet socket"));
  }
  Observation observation(std::move(socket));
  observation.watch(wish, stop);
  return observation.finish();
}

}  // namespace epif::observe
