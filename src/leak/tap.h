#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "leak/packet.h"
#include "net/links.h"

namespace epif::leak {

/// One packet that left or came by a device.
struct Leaving {
  unsigned device = 0;            ///< index
  std::uint16_t declared = 0;     ///< protocol as the sender declared it
  bool to_all = false;            ///< sent to a link-layer broadcast or multicast address
  Bytes bytes;                    ///< from the network header on, cut after 512 bytes
  std::optional<Header> header;
};

enum class Direction { leaving, arriving };

/// Sees every packet that leaves (or arrives) by any device but loopback. Leaving ones after all rules of the node have had their say: it stands where
/// the driver is called. What passes the driver's queue by (PACKET_QDISC_BYPASS, AF_XDP) it cannot see; counters() can.
class Tap {
 public:
  /// In the network namespace of the calling thread. Errors: permission, io.
  [[nodiscard]] static Result<std::unique_ptr<Tap>> open(Direction direction = Direction::leaving);

  /// Reads what has left so far.
  void read();
  /// Reads until `done` holds or `patience` is over; says whether it holds.
  bool read_until(const std::function<bool()>& done, std::chrono::milliseconds patience);
  /// Returns when all that was given to `device` before this call has been read: a frame of our own marks the place. False if
  /// it did not come within `patience`.
  bool settle(const net::Link& device, std::chrono::milliseconds patience);

  /// What was read, in order. The caller may clear it.
  std::vector<Leaving> seen;
  /// Packets by device since the start, our marks not counted.
  std::map<unsigned, std::uint64_t> count;
  /// Packets that the kernel could not keep for us since the start: after one, nothing is proven.
  [[nodiscard]] std::uint64_t lost();

 private:
  explicit Tap(Fd socket) : socket_(std::move(socket)) {}
  bool take_one();

  Fd socket_;
  std::uint64_t lost_ = 0;
  std::string awaited_;  ///< the mark of settle()
  bool mark_seen_ = false;
};

/// Packets that each device of this namespace says it has sent (/proc/net/dev).
[[nodiscard]] std::uint64_t sent_by(const net::Link& device);
/// The same from the file's text; pure.
[[nodiscard]] std::uint64_t sent_by(std::string_view text, std::string_view device);

}  // namespace epif::leak
