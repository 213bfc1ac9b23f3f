#pragma once
#include "net/stream.h"

namespace epif::onward {

/// Whoever wants a connection that is being made: it may be given up meanwhile.
class Attempt {
 public:
  virtual ~Attempt() = default;
  /// Asked once a connection is there. An error: it is not wanted any more.
  [[nodiscard]] virtual Result<> still_granted() const = 0;
  /// Whoever gives it up aborts this stream from now on; null: none.
  virtual void waits_for(net::Stream* stream) = 0;
};

}  // namespace epif::onward
