#include "socks/socks5_udp.h"

#include "socks/socks5_fields.h"

namespace epif::socks5 {

socks::Decoded<Datagram> decode_datagram(ByteSpan packet) {
  constexpr std::size_t fixed = 3;
  if (packet.size() < fixed) return socks::NeedMore{};
  const auto target = decode_target(packet.subspan(fixed));
  if (const auto* fault = socks::malformed(target)) return *fault;
  const auto* complete = socks::done(target);
  if (complete == nullptr) return socks::NeedMore{};
  return socks::Done<Datagram>{{packet[2], complete->message, packet.subspan(fixed + complete->consumed)}, packet.size()};
}

std::size_t encode_datagram_header(const socks::Target& target, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.zeros(3);
  return encode_target(target, writer) ? writer.finish() : 0;
}

}  // namespace epif::socks5
