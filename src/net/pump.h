#pragma once
#include <memory>

#include "net/relay.h"

namespace epif::net {

/// One direction of a relay as a plain state machine: it moves what can be moved, and says what to wait for. Small, since an
/// idle connection holds two of them.
class Pump {
 public:
  enum class Next {
    readable,  ///< wait for the source, then step again
    writable,  ///< wait for the sink, then step again
    end,       ///< all is passed on: the end is next, by pass_end()
    failed,    ///< see error()
  };

  /// As of net::pump().
  Pump(Stream& from, Stream& to, ByteSpan early, Carried& carried, PumpGate* gate, Bytes* held_in);

  [[nodiscard]] Next step();
  /// Steps and waits until all is passed on, the end too, or until it has failed.
  [[nodiscard]] Task<void> run();

  /// After Next::end: passes the end on, if the gate lets it. Sets error() if not.
  [[nodiscard]] Task<void> pass_end();

  [[nodiscard]] Stream& from() const { return from_; }
  [[nodiscard]] Stream& to() const { return to_; }
  [[nodiscard]] const Error* error() const { return error_.get(); }

 private:
  [[nodiscard]] Next fail_with(Error error);
  [[nodiscard]] Next take();
  void passed();

  Stream& from_;
  Stream& to_;
  Carried& carried_;
  PumpGate* gate_;
  Bytes* held_in_;
  ByteSpan left_;             ///< of what was read, not yet taken by the sink; inside of rest_, or early bytes
  Bytes rest_;
  std::size_t moving_ = 0;    ///< bytes read and not yet accounted for
  std::unique_ptr<Error> error_;
  bool asked_ = false;        ///< the gate has let the early bytes pass
  bool source_ended_ = false;
  bool source_failed_ = false;
};

}  // namespace epif::net
