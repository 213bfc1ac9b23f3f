#pragma once
#include <memory>

#include "net/pipe_pool.h"
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

  /// After Next::end: passes the end on, if that takes no wait. False: pass_end() has to.
  [[nodiscard]] bool end_at_once();
  /// After Next::end: passes the end on, if the gate lets it. Sets error() if not.
  [[nodiscard]] Task<void> pass_end();

  [[nodiscard]] Stream& from() const { return from_; }
  [[nodiscard]] Stream& to() const { return to_; }
  [[nodiscard]] const Error* error() const { return error_.get(); }

 private:
  [[nodiscard]] Next fail_with(Error error);
  [[nodiscard]] Next take();
  void passed();

  // Bulk by a pipe of the kernel: pump_bulk.cc
  void note_read(std::size_t bytes);
  [[nodiscard]] bool is_bulk();
  [[nodiscard]] Next take_by_pipe();
  [[nodiscard]] Next empty_pipe();

  Stream& from_;
  Stream& to_;
  Carried& carried_;
  PumpGate* gate_;
  Bytes* held_in_;
  ByteSpan left_;             ///< of what was read, not yet taken by the sink; inside of rest_, or early bytes
  Bytes rest_;
  std::size_t moving_ = 0;    ///< bytes read and not yet accounted for
  std::unique_ptr<Error> error_;
  std::unique_ptr<Pipe> pipe_;  ///< while it holds bytes that the sink has not taken
  std::uint32_t bulk_ = 0;      ///< bytes of the large reads in a row
  enum class ByPipe : std::uint8_t { unknown, yes, no } by_pipe_ = ByPipe::unknown;
  bool asked_ = false;        ///< the gate has let the early bytes pass
  bool source_ended_ = false;
  bool source_failed_ = false;
};

}  // namespace epif::net
