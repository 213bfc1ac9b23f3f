#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "net/links.h"

/// The ways out of a node: how a program may try to reach a destination.
namespace epif::leak {

/// One probe. All calls happen in the network namespace of the calling thread.
struct Probe {
  std::string token;
  IpAddress to;
  std::uint16_t port = 9;
  IpAddress from;      ///< this node's address of the same family
  IpAddress via;       ///< where source routes go first; not protected
  net::Link device;    ///< that leads to `via`
  std::uint32_t mark = 0;  ///< the redirector's own
  bool named = false;      ///< the token is a protected name, as DNS messages write it; `to` is a resolver that nothing protects
};

/// What became of it on this side.
struct Attempt {
  enum class Outcome { sent, refused, impossible };
  Outcome outcome = Outcome::sent;
  std::string reason{};          ///< of the other two
  std::uint16_t from_port = 0;   ///< of a TCP connection: recognises its packets, since a SYN bears no token
};
[[nodiscard]] Attempt refused(int error_number);
[[nodiscard]] Attempt impossible(std::string reason);
/// By the result of a system call: sent, refused (EPERM, EACCES, ENOBUFS and unreachability) or impossible (others).
[[nodiscard]] Attempt after_send(ssize_t sent);

struct Way {
  std::string_view name;
  Attempt (*send)(const Probe&);
  bool v4 = true;
  bool v6 = true;
  std::uint16_t port = 0;        ///< the one that it is about (53, 443); 0: any
  bool ports = true;             ///< false: it has none, so that a protected block is closed to it whatever its ports are
  bool bare_control = false;     ///< refused to every destination by design: the control runs in a bare namespace
  bool named = false;            ///< asks a resolver for a protected name, instead of trying a protected destination
  bool unseen = false;           ///< passes no tap: noticed by the device's counter, so `batch` packets are sent
  std::string_view advice{};     ///< what closes it, if no rule can
};
inline constexpr int batch = 64;

/// In a fixed order.
[[nodiscard]] std::span<const Way> socket_ways();  ///< as any program could
[[nodiscard]] std::span<const Way> raw_ways();     ///< with raw sockets
[[nodiscard]] std::span<const Way> frame_ways();   ///< with packet sockets and AF_XDP

/// `batch` frames past everything (AF_XDP, copy mode).
[[nodiscard]] Attempt send_by_xdp(const Probe& probe, ByteSpan frame);

/// An Ethernet header with an address that nobody has, so that a frame that gets out reaches nobody.
[[nodiscard]] Bytes ethernet(std::uint16_t type, ByteSpan packet, ByteSpan tag = {});

}  // namespace epif::leak
