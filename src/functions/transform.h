#pragma once
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "bridge/message.h"

/// What a built-in bridging function is: a duplex transform over spans. Pure: no I/O and no clock of its own; serve.h feeds it.
namespace epif::functions {

using bridge::Direction;

/// What to pass on after feed().
enum class Pass {
  as_is,   ///< the input itself, unchanged
  output,  ///< what feed() appended to `out`, maybe nothing yet
};

/// One connection's state of a function. An error from any call cuts the flow, with its text as the reason.
class Transform {
 public:
  virtual ~Transform() = default;
  /// Bytes of one direction, in order, at most limits::relay_buffer_bytes at a time.
  [[nodiscard]] virtual Result<Pass> feed(Direction direction, ByteSpan in, Bytes& out) = 0;
  /// The direction has come to its proper end; `out` takes the last bytes.
  [[nodiscard]] virtual Result<> finish(Direction direction, Bytes& out) {
    static_cast<void>(direction), static_cast<void>(out);
    return {};
  }
  /// True while the function holds bytes back and waits for more to decide.
  [[nodiscard]] virtual bool holding() const { return false; }
  /// Called when it held longer than limits::handshake_deadline_ms: the reason for which the flow is cut.
  [[nodiscard]] virtual Error expired() const { return {Code::timeout, "held for too long"}; }
  /// Adds to the report at the end.
  virtual void report(bridge::Report& out) const { static_cast<void>(out); }
};

}  // namespace epif::functions
