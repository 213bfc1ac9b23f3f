#pragma once
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"

namespace epif::net {

/// What net::ConnectHook's program looks up, kept in the kernel (BPF maps) so that processes can share it: destinations, each with an
/// address on loopback that stands for it. Any thread.
class StandInMaps {
 public:
  /// Where a stand-in leads, and the address that programs see as their own on the way there.
  struct Origin {
    SocketAddress destination;
    IpAddress source;
    friend bool operator==(const Origin&, const Origin&) = default;
  };
  struct Descriptors {
    Fd stand_ins;  ///< destination to stand-in
    Fd origins;    ///< stand-in to Origin
  };

  /// Errors: permission, unsupported, io.
  [[nodiscard]] static Result<StandInMaps> make();
  /// What another process has made.
  explicit StandInMaps(Descriptors descriptors) : maps_(std::move(descriptors)) {}
  /// Errors: no_descriptors.
  [[nodiscard]] Result<Descriptors> copies() const;

  /// True if connections to it are led now.
  [[nodiscard]] bool leads(const SocketAddress& destination) const;
  /// From here on connections to `origin.destination` (IPv4) are led. Errors: limit (no place is free), io.
  [[nodiscard]] Result<> lead(const Origin& origin) const;
  /// None is led until the next lead(); stand-ins keep their meaning. Errors: io (some are led still).
  [[nodiscard]] Result<> lead_none() const;
  [[nodiscard]] std::optional<Origin> origin(const IpAddress& stand_in) const;

  [[nodiscard]] int stand_ins() const { return maps_.stand_ins.get(); }
  [[nodiscard]] int origins() const { return maps_.origins.get(); }

 private:
  Descriptors maps_;
};

/// Where stand-ins lie; in the kernel all of 127.0.0.0/8 is this node.
inline constexpr std::string_view stand_in_block = "127.119.0.0/16";
[[nodiscard]] bool is_stand_in(const IpAddress& ip);

}  // namespace epif::net
