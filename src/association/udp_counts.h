#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

/// What one worker counts about UDP.
namespace epif::association {

/// Why a datagram went no further.
enum class UdpDrop : std::uint8_t {
  foreign_source,   ///< not from the client that the association belongs to
  no_association,   ///< a number that no association here has
  wrong_path,       ///< SOCKS6: another path than the first datagram's
  malformed,
  fragment,         ///< SOCKS5 fragments, which nobody puts together
  denied,           ///< no route permits its destination
  unasked,          ///< from a host that the client may not reach
  unresolved,       ///< its destination's name has no address
  no_path,          ///< towards a client whose path is not known yet
  limit,            ///< too many destinations, too much waiting, or the direction that carries no data
  congested,        ///< no room in a socket or connection
  too_big,
  unreachable,      ///< the system has no way there
};
inline constexpr std::size_t udp_drop_count = static_cast<std::size_t>(UdpDrop::unreachable) + 1;
[[nodiscard]] std::string_view name(UdpDrop drop);

struct UdpCounts {
  std::uint64_t associations_socks5 = 0;  ///< opened since the start
  std::uint64_t associations_socks6 = 0;
  std::uint64_t open = 0;                 ///< now; filled in for a snapshot
  std::uint64_t destinations = 0;         ///< now, of all of them; filled in for a snapshot
  std::uint64_t next_proxies = 0;         ///< connections to them now; filled in for a snapshot
  std::uint64_t queued_bytes = 0;         ///< of datagrams that wait now; filled in for a snapshot
  std::uint64_t to_server = 0;            ///< datagrams passed on
  std::uint64_t to_client = 0;
  std::uint64_t errors_reported = 0;      ///< SOCKS6 error messages
  std::array<std::uint64_t, udp_drop_count> dropped{};

  void drop(UdpDrop why, std::uint64_t count = 1) { dropped[static_cast<std::size_t>(why)] += count; }
  UdpCounts& operator+=(const UdpCounts& other);
};

/// Appends Prometheus text.
void print_udp(std::string& out, const UdpCounts& counts);

}  // namespace epif::association
