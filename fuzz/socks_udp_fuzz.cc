// Datagrams with their headers, and the messages of UDP associations in TCP: no crash, the same message for every split, and what
// was read can be written and read again. The first byte picks the codec.
#include <algorithm>
#include <cstdlib>

#include "base/bytes.h"
#include "socks/socks5_udp.h"
#include "socks/socks6_udp.h"
#include "socks/split_property.h"

using namespace epif;

namespace {

void require(bool kept) {
  if (!kept) std::abort();
}

void check_socks5(ByteSpan packet) {
  const auto decoded = socks5::decode_datagram(packet);
  const auto* complete = socks::done(decoded);
  if (complete == nullptr) return;
  Bytes out(socks5::datagram_header_max_bytes);
  out.resize(socks5::encode_datagram_header(complete->message.target, out));
  require(out.size() + complete->message.payload.size() == packet.size());
  require(std::equal(out.begin() + 3, out.end(), packet.begin() + 3));
}

void check_socks6(ByteSpan stream) {
  require(socks::split_difference(socks6::decode_udp_message, stream).empty());
  const auto decoded = socks6::decode_udp_message(stream);
  const auto* complete = socks::done(decoded);
  if (complete == nullptr || complete->message.type != socks6::UdpType::datagram) return;
  const auto& message = complete->message;
  Bytes out(socks6::udp_header_max_bytes);
  out.resize(socks6::encode_udp_header(message.association, message.target, message.payload.size(), out));
  if (out.empty()) return;  // padding made it longer than a message may be
  out.insert(out.end(), message.payload.begin(), message.payload.end());
  const auto again = socks6::decode_udp_message(out);
  const auto* same = socks::done(again);
  require(same != nullptr && same->message == message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(data + 1, size - 1);
  if (data[0] % 2 == 0) check_socks5(bytes);
  else check_socks6(bytes);
  return 0;
}
