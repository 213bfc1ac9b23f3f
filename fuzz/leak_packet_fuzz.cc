#include <algorithm>
#include <cstdlib>

#include "leak/packet.h"

namespace {

using namespace epif;

void require(bool holds) {
  if (!holds) std::abort();
}

bool has(ByteSpan packet, const IpAddress& address) {
  const auto wanted = address.bytes();
  return std::ranges::search(packet, wanted).size() == wanted.size();
}

/// Whatever stood on the wire: what is said of it stands in it.
void read_anything(ByteSpan packet) {
  if (const auto header = leak::read_header(packet)) {
    require(header->from.is_v6() == header->to.is_v6());
    require(has(packet, header->from) && has(packet, header->to));
    if (header->asked) require(header->neighbour && header->to.is_v6() && has(packet, *header->asked));
    if (header->neighbour) require(header->protocol == 58 && header->from_port == 0 && header->to_port == 0);
  }
  if (const auto asked = leak::asked_by_arp(packet)) require(asked->is_v4() && has(packet, *asked));
}

/// A packet of our own making: read back as it was made, also behind tags; and cut anywhere it says nothing else.
void read_own(ByteSpan seed) {
  constexpr std::size_t taken = 40;
  if (seed.size() < taken) return;
  const bool v6 = (seed[0] & 1) != 0;
  const auto address = [&](std::size_t at) { return v6 ? IpAddress::v6(seed.subspan(at, 16)) : IpAddress::v4(seed.subspan(at, 4)); };
  const leak::Ends ends{address(4), address(20)};
  const auto from_port = load_u16(&seed[36]);
  const auto to_port = load_u16(&seed[38]);
  const bool tcp = (seed[0] & 2) != 0;
  const auto data = seed.subspan(taken);
  const auto body = tcp ? leak::tcp_syn(ends, from_port, to_port, data) : leak::udp_datagram(ends, from_port, to_port, data);
  auto packet = leak::ip_packet(ends, tcp ? 6 : 17, body);
  const auto is_it = [&](const leak::Header& header) {
    return header.from == ends.from && header.to == ends.to && header.protocol == (tcp ? 6 : 17) && header.plain && !header.asked && !header.neighbour;
  };
  const std::size_t head = v6 ? 40 : 20;
  for (std::size_t length = 0; length <= packet.size(); ++length) {
    const auto header = leak::read_header(ByteSpan(packet).first(length));
    if (length < head) continue;  // what is cut may look like a tag before another packet
    require(header && is_it(*header));
    const bool ports = length >= head + 4;
    require(header->from_port == (ports ? from_port : 0) && header->to_port == (ports ? to_port : 0));
  }
  const Bytes tag{0x00, 0x05, 0x08, 0x00};
  packet.insert(packet.begin(), tag.begin(), tag.end());
  const auto behind = leak::read_header(packet);
  require(behind && is_it(*behind) && behind->to_port == to_port);
}

}  // namespace

/// What leaves a node while the leak test watches is anybody's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t most = 2048;
  if (size > most) return 0;
  read_anything(ByteSpan(data, size));
  read_own(ByteSpan(data, size));
  return 0;
}
