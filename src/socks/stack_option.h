#pragma once
#include <cstdint>
#include <optional>
#include <variant>

#include "base/bytes.h"
#include "socks/wire.h"

/// SOCKS6 stack options (draft-12 section 7.1, option kind 1): wishes about sockets in a request, facts in a reply.
namespace epif::socks6 {

/// Which connection an option is about.
enum class Leg : std::uint8_t { client_proxy = 1, proxy_remote = 2, both = 3 };

struct Tos {
  Leg leg = Leg::proxy_remote;
  std::uint8_t value = 0;  ///< the IPv4 TOS byte, IPv6 traffic class
  friend bool operator==(const Tos&, const Tos&) = default;
};
struct HappyEyeballs {
  bool wanted = false;  ///< in a reply: attempted
  friend bool operator==(const HappyEyeballs&, const HappyEyeballs&) = default;
};
struct Ttl {
  Leg leg = Leg::proxy_remote;
  std::uint8_t value = 0;  ///< TTL or hop limit
  friend bool operator==(const Ttl&, const Ttl&) = default;
};
struct NoFragmentation {
  Leg leg = Leg::proxy_remote;
  bool wanted = false;  ///< in a reply: enforced
  friend bool operator==(const NoFragmentation&, const NoFragmentation&) = default;
};
struct FastOpen {
  std::uint16_t payload_bytes = 0;  ///< upper bound of data in the SYN; 0 = any
  friend bool operator==(const FastOpen&, const FastOpen&) = default;
};
struct Multipath {
  bool wanted = false;  ///< in a reply: available
  friend bool operator==(const Multipath&, const Multipath&) = default;
};
struct ListenBacklog {
  std::uint16_t connections = 0;
  friend bool operator==(const ListenBacklog&, const ListenBacklog&) = default;
};
struct UdpError {
  bool wanted = false;
  friend bool operator==(const UdpError&, const UdpError&) = default;
};
struct PortParity {
  std::uint8_t parity = 0;  ///< 0 any, 1 even, 2 odd
  bool reserve = false;     ///< keep the counterpart port free
  friend bool operator==(const PortParity&, const PortParity&) = default;
};

/// HappyEyeballs and everything from FastOpen on are about the leg between proxy and remote host, by definition.
using StackOption =
    std::variant<Tos, HappyEyeballs, Ttl, NoFragmentation, FastOpen, Multipath, ListenBacklog, UdpError, PortParity>;

[[nodiscard]] Leg leg_of(const StackOption& option);

/// The 4 bytes after kind and length. An unknown level, code, leg or value is no option: the draft wants silence.
[[nodiscard]] std::optional<StackOption> decode_stack_option(ByteSpan body);
/// The whole option, 8 bytes, kind and length included.
void encode_stack_option(const StackOption& option, socks::Writer& writer);

/// The stack options of one message. Of two that speak of the same thing on the same leg the first counts; the draft forbids
/// such pairs and leaves the reaction open. So 12 hold everything that is defined.
class StackOptions {
 public:
  /// False if an earlier option contradicts or repeats it.
  bool add(const StackOption& option);
  /// The first option of this type that covers `leg`.
  template <class Option>
  [[nodiscard]] const Option* find(Leg leg = Leg::proxy_remote) const {
    for (const auto& option : list_) {
      const auto* found = std::get_if<Option>(&option);
      if (found != nullptr && covers(option, leg)) return found;
    }
    return nullptr;
  }
  [[nodiscard]] auto begin() const { return list_.begin(); }
  [[nodiscard]] auto end() const { return list_.end(); }
  [[nodiscard]] std::size_t size() const { return list_.size(); }
  [[nodiscard]] bool empty() const { return list_.empty(); }
  friend bool operator==(const StackOptions&, const StackOptions&) = default;

 private:
  [[nodiscard]] static bool covers(const StackOption& option, Leg leg) {
    return (static_cast<unsigned>(leg_of(option)) & static_cast<unsigned>(leg)) != 0;
  }
  socks::InlineList<StackOption, 12> list_;
};

}  // namespace epif::socks6
