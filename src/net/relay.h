#pragma once
#include <cstdint>
#include <functional>

#include "net/stream.h"

namespace epif::net {

/// What a direction has carried so far; readable at any moment on the loop's thread.
struct Carried {
  std::uint64_t bytes = 0;
  TimePoint last{};     ///< last byte moved
  bool ended = false;   ///< the end was passed on
};

/// Looks at a direction while it flows. Default: lets all pass.
class PumpGate {
 public:
  virtual ~PumpGate() = default;
  /// Before `more` bytes are passed on; `carried` holds those before. An error cuts the flow.
  [[nodiscard]] virtual Result<> before_bytes(const Carried& carried, std::size_t more) {
    static_cast<void>(carried), static_cast<void>(more);
    return {};
  }
  /// Before the end of the stream is passed on (a BF must have announced it). An error cuts the flow.
  [[nodiscard]] virtual Task<Result<>> before_end(const Carried& carried) {
    static_cast<void>(carried);
    co_return Result<>{};
  }
};

/// Passes `early` and then all bytes from one stream to another until the end, and passes the end on (the other direction
/// goes on). Holds at most limits::relay_buffer_bytes, and none while idle. On error neither stream is touched: the
/// caller decides. `gate` may be null. `held_in`, if given, holds `early` and is emptied as soon as that is written.
[[nodiscard]] Task<Result<>> pump(Stream& from, Stream& to, ByteSpan early, Carried& carried, PumpGate* gate = nullptr,
                                  Bytes* held_in = nullptr);

/// One side of a relay: the stream, bytes already read from it, and what looks at the bytes that come from it.
struct RelaySide {
  Stream& stream;
  ByteSpan early{};
  PumpGate* gate = nullptr;
  Bytes* held_in = nullptr;  ///< as of pump()
};
struct RelayTimes {
  std::uint32_t idle_s;         ///< no byte in either direction
  std::uint32_t half_closed_s;  ///< no byte after one side ended
};

/// Both directions until both ended. If one fails, bytes that the peer sent before are still delivered where they can be,
/// then both streams are aborted with the reason, so a cut transfer is never taken for a complete one. `from_a` and
/// `from_b` are updated while it runs.
[[nodiscard]] Task<Result<>> relay(RelaySide a, RelaySide b, Carried& from_a, Carried& from_b, RelayTimes times);

}  // namespace epif::net
