#include "association/association.h"
#include "association/udp_messages.h"
#include "base/limits.h"
#include "socks/socks5_udp.h"

namespace epif::association {
namespace {

constexpr unsigned batches_in_a_row = 8;

}  // namespace

net::Task<void> Association::follow_connection(Bytes early) {
  auto outcome = co_await read_connection(std::move(early));
  end(std::move(outcome));
}

net::Task<Result<>> Association::read_connection(Bytes early) {
  if (!relay_) {
    std::function<Result<>(const socks6::UdpMessage&)> on_message = [this](const auto& message) -> Result<> {
      if (message.type != socks6::UdpType::datagram) return fail(Code::protocol, "the client sends what only proxies may send");
      take_message(InStream{}, message);
      return {};
    };
    std::function<void()> on_batch = [this] {
      datagrams_.flush(Datagrams::Direction::to_server);
      flush();
    };
    auto outcome = co_await read_udp_messages(client_.stream, std::move(early), over_, std::move(on_message), std::move(on_batch));
    co_return outcome;
  }
  // SOCKS5 has nothing to say here any more; its end is what counts (RFC 1928 section 7).
  while (!over_) {
    const auto io = client_.stream.read_some(loop_.scratch());
    if (io.state == net::Io::State::end) co_return Result<>{};
    if (io.state == net::Io::State::failed) co_return fail(client_.stream.error());
    if (io.state == net::Io::State::moved) {
      co_await net::Yield{loop_};
      continue;
    }
    auto ready = co_await client_.stream.readable();
    if (!ready) co_return ready;
  }
  co_return Result<>{};
}

net::Task<void> Association::serve_relay() {
  for (unsigned batches = 1; !over_; ++batches) {
    auto ready = co_await relay_->interest().readable();
    if (!ready || over_) co_return;
    for (const auto& packet : datagrams_.reader().read(*relay_)) take_packet(packet);
    datagrams_.flush(Datagrams::Direction::to_server);
    flush();
    if (batches % batches_in_a_row == 0) co_await net::Yield{loop_};
  }
}

void Association::take_packet(const net::Packet& packet) {
  auto& counts = datagrams_.counts();
  const bool ours = packet.from.ip == client_.peer.ip.unmapped() && (client_port_ == 0 || packet.from.port == client_port_);
  if (!ours) return counts.drop(UdpDrop::foreign_source);
  const auto decoded = socks5::decode_datagram(packet.payload);
  const auto* complete = socks::done(decoded);
  if (complete == nullptr) return counts.drop(UdpDrop::malformed);
  client_port_ = packet.from.port;
  if (complete->message.fragment != 0) return counts.drop(UdpDrop::fragment);
  to_server(complete->message.target, complete->message.payload);
}

void Association::take(const UdpPath& path, const socks6::UdpMessage& message) {
  auto& counts = datagrams_.counts();
  // What a certified client sends in clear is not known to be its own, and its datagrams must not leave TLS.
  const bool ours = client_.identity.empty() && path.client.ip == client_.peer.ip.unmapped();
  if (!ours) return counts.drop(UdpDrop::foreign_source);
  if (message.type != socks6::UdpType::datagram) return counts.drop(UdpDrop::malformed);
  take_message(path, message);
}

void Association::take_message(const Path& path, const socks6::UdpMessage& message) {
  auto& counts = datagrams_.counts();
  if (message.association != number_) return counts.drop(UdpDrop::no_association);
  if (std::holds_alternative<std::monostate>(path_)) {
    path_ = path;
    std::array<std::uint8_t, socks6::udp_common_bytes> confirmation{};
    const auto size = socks6::encode_udp_confirmation(number_, confirmation);
    static_cast<void>(queue_.push(ByteSpan(confirmation).first(size), {}));
    queue_.flush();
  }
  if (path_ != path) return counts.drop(UdpDrop::wrong_path);
  const auto* ip = std::get_if<IpAddress>(&message.target.host);
  // No destination at all: the client only wants to be found by others.
  if (ip != nullptr && ip->is_any() && message.target.port == 0) {
    used_ = loop_.now();
    used_once_ = true;
    return;
  }
  to_server(message.target, message.payload);
}

net::PacketOptions Association::client_packets(const UdpPath& path) const {
  // The port is shared: each datagram says itself what its client wished.
  net::PacketOptions made;
  if (!path.local.is_any()) made.from = path.local;
  if (const auto* tos = client_facts_.find<socks6::Tos>(socks6::Leg::client_proxy)) made.tos = tos->value;
  if (const auto* ttl = client_facts_.find<socks6::Ttl>(socks6::Leg::client_proxy)) made.ttl = ttl->value;
  const auto* whole = client_facts_.find<socks6::NoFragmentation>(socks6::Leg::client_proxy);
  made.no_fragmentation = whole != nullptr && whole->wanted;
  return made;
}

void Association::to_client(const socks::Target& source, ByteSpan payload) {
  auto& counts = datagrams_.counts();
  auto& sender = datagrams_.sender();
  if (relay_) {
    if (client_port_ == 0) return counts.drop(UdpDrop::no_path);
    const auto size = socks5::encode_datagram_header(source, sender.header());
    sender.add(*relay_, {client_.peer.ip.unmapped(), client_port_}, size, payload);
    return;
  }
  if (std::holds_alternative<std::monostate>(path_)) return counts.drop(UdpDrop::no_path);
  if (const auto* udp = std::get_if<UdpPath>(&path_)) {
    const auto size = socks6::encode_udp_header(number_, source, payload.size(), sender.header());
    if (size == 0) return counts.drop(UdpDrop::too_big);
    sender.add(*udp->port, udp->client, size, payload, client_packets(*udp));
    return;
  }
  std::array<std::uint8_t, socks6::udp_header_max_bytes> header{};
  const auto size = socks6::encode_udp_header(number_, source, payload.size(), header);
  if (size == 0) return counts.drop(UdpDrop::too_big);
  if (!queue_.push(ByteSpan(header).first(size), payload)) return counts.drop(UdpDrop::congested);
  ++counts.to_client;
}

void Association::report(const SocketAddress& destination, socks6::UdpErrorCode code, const IpAddress& reporter) {
  std::array<std::uint8_t, socks6::udp_error_max_bytes> message{};
  const auto size = socks6::encode_udp_error(number_, destination, code, reporter, message);
  const auto bytes = ByteSpan(message).first(size);
  if (const auto* udp = std::get_if<UdpPath>(&path_)) {
    auto& sender = datagrams_.sender();
    std::ranges::copy(bytes, sender.header().begin());
    sender.add(*udp->port, udp->client, size, {}, client_packets(*udp));
  } else if (std::holds_alternative<InStream>(path_)) {
    if (!queue_.push(bytes, {})) return datagrams_.counts().drop(UdpDrop::congested);
  } else {
    return;
  }
  ++datagrams_.counts().errors_reported;
}

void Association::flush_to_client() {
  datagrams_.flush(Datagrams::Direction::to_client);
  queue_.flush();
}

}  // namespace epif::association
