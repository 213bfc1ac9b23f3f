#include "association/passed_datagram.h"

#include <optional>

namespace epif::association {
namespace {

constexpr std::size_t address_bytes = 17;  // 4 or 6, and as many bytes as the longer one needs
constexpr std::size_t port_bytes = 2;

void append_address(Bytes& to, const IpAddress& address) {
  to.push_back(address.is_v4() ? 4 : 6);
  to.insert(to.end(), address.bytes().begin(), address.bytes().end());
  to.resize(to.size() + address_bytes - 1 - address.bytes().size());
}

void append_port(Bytes& to, std::uint16_t port) {
  to.resize(to.size() + port_bytes);
  store_u16(to.data() + to.size() - port_bytes, port);
}

std::optional<IpAddress> take_address(ByteSpan& from) {
  const auto kind = from[0];
  const auto bytes = from.subspan(1);
  from = from.subspan(address_bytes);
  if (kind == 4) return IpAddress::v4(bytes.first(4));
  if (kind == 6) return IpAddress::v6(bytes.first(16));
  return std::nullopt;
}

std::uint16_t take_port(ByteSpan& from) {
  const auto port = load_u16(from.data());
  from = from.subspan(port_bytes);
  return port;
}

}  // namespace

void append(Bytes& to, const PassedDatagram& one) {
  append_address(to, one.port.ip);
  append_port(to, one.port.port);
  append_address(to, one.from.ip);
  append_port(to, one.from.port);
  append_address(to, one.local);
  to.resize(to.size() + 4);
  store_u32(to.data() + to.size() - 4, static_cast<std::uint32_t>(one.payload.size()));
  to.insert(to.end(), one.payload.begin(), one.payload.end());
}

bool each_passed(ByteSpan message, const std::function<void(const PassedDatagram&)>& call) {
  while (!message.empty()) {
    if (message.size() < passed_head_bytes) return false;
    const auto port_ip = take_address(message);
    const auto port = take_port(message);
    const auto from_ip = take_address(message);
    const auto from = take_port(message);
    const auto local = take_address(message);
    const auto length = load_u32(message.data());
    message = message.subspan(4);
    if (!port_ip || !from_ip || !local || length > message.size()) return false;
    call({{*port_ip, port}, {*from_ip, from}, *local, message.first(length)});
    message = message.subspan(length);
  }
  return true;
}

}  // namespace epif::association
