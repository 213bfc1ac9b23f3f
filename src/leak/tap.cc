#include "leak/tap.h"

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>

#include "leak/ways.h"

namespace epif::leak {
namespace {

constexpr std::uint16_t mark_type = 0x88b5;  // IEEE 802 local experimental ethertype
constexpr std::size_t kept_bytes = 512;
constexpr int buffer_bytes = 32 * 1024 * 1024;

/// Keeps the first bytes of what goes in `direction` by a device other than loopback.
bool keep_only(const Fd& socket, Direction direction, unsigned loopback) {
  const auto ancillary = [](std::uint32_t what) { return static_cast<std::uint32_t>(SKF_AD_OFF) + what; };
  const bool leaving = direction == Direction::leaving;
  constexpr std::uint8_t no_jump = 0;
  constexpr std::uint8_t to_end = 3;
  std::array<sock_filter, 6> code{{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, ancillary(SKF_AD_PKTTYPE)},
      {BPF_JMP | BPF_JEQ | BPF_K, leaving ? no_jump : to_end, leaving ? to_end : no_jump, PACKET_OUTGOING},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, ancillary(SKF_AD_IFINDEX)},
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, loopback},
      {BPF_RET | BPF_K, 0, 0, kept_bytes},
      {BPF_RET | BPF_K, 0, 0, 0},
  }};
  const sock_fprog program{code.size(), code.data()};
  return ::setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

std::string mark_text(const std::string& token) { return std::string(8, '\0') + "mark" + token; }

}  // namespace

Result<std::unique_ptr<Tap>> Tap::open(Direction direction) {
  // Without a protocol nothing is queued before the filter stands.
  Fd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail(system_error(errno, "cannot watch the devices", "packet socket"));
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) != 0 ||
      !keep_only(socket, direction, ::if_nametoindex("lo"))) {
    return fail(system_error(errno, "cannot watch the devices", "packet socket"));
  }
  sockaddr_ll all{};
  all.sll_family = AF_PACKET;
  all.sll_protocol = htons(ETH_P_ALL);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&all), sizeof all) != 0) {
    return fail(system_error(errno, "cannot watch the devices", "packet socket"));
  }
  return std::unique_ptr<Tap>(new Tap(std::move(socket)));
}

bool Tap::take_one() {
  std::array<std::uint8_t, kept_bytes> bytes;
  sockaddr_ll from{};
  socklen_t length = sizeof from;
  const auto got = ::recvfrom(socket_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
  if (got < 0) return false;
  Leaving packet{static_cast<unsigned>(from.sll_ifindex), ntohs(from.sll_protocol), false,
                 Bytes(bytes.begin(), bytes.begin() + got), {}};
  if (packet.declared == mark_type) {
    if (!awaited_.empty() && as_text(packet.bytes).contains(awaited_)) mark_seen_ = true;
    return true;
  }
  packet.to_all = from.sll_halen > 0 && (from.sll_addr[0] & 1) != 0;
  packet.header = read_header(packet.bytes);
  ++count[packet.device];
  seen.push_back(std::move(packet));
  return true;
}

void Tap::read() {
  while (take_one()) {
  }
}

bool Tap::read_until(const std::function<bool()>& done, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    read();
    if (done()) return true;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd ready{socket_.get(), POLLIN, 0};
    ::poll(&ready, 1, static_cast<int>(left.count()));
  }
}

bool Tap::settle(const net::Link& device, std::chrono::milliseconds patience) {
  awaited_ = make_token();
  mark_seen_ = false;
  const Fd wire(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(device.index);
  to.sll_protocol = htons(mark_type);
  const auto frame = ethernet(mark_type, as_bytes(mark_text(awaited_)));
  const auto sent = ::sendto(wire.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  const auto came = sent >= 0 && read_until([this] { return mark_seen_; }, patience);
  awaited_.clear();
  return came;
}

std::uint64_t Tap::lost() {
  tpacket_stats stats{};
  socklen_t length = sizeof stats;
  if (::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0) lost_ += stats.tp_drops;
  return lost_;
}

std::uint64_t sent_by(std::string_view text, std::string_view device) {
  constexpr int sent_field = 9;  // "name: 8 receive fields, bytes, packets ..."
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
    if (!line.starts_with(device) || !line.substr(device.size()).starts_with(':')) continue;
    line.remove_prefix(device.size() + 1);
    for (int field = 0;; ++field) {
      line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
      const auto word = line.substr(0, line.find(' '));
      if (word.empty()) return 0;
      std::uint64_t value = 0;
      std::from_chars(word.data(), word.data() + word.size(), value);
      if (field == sent_field) return value;
      line.remove_prefix(word.size());
    }
  }
  return 0;
}

std::uint64_t sent_by(const net::Link& device) {
  std::ifstream file("/proc/thread-self/net/dev");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return sent_by(text, device.name);
}

}  // namespace epif::leak
