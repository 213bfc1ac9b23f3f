#include "net/datagram_ear.h"

#include "base/limits.h"
#include "net/task.h"

namespace epif::net {

struct DatagramEar::State {
  State(Loop& on, Fd bound, OnDatagram callback)
      : loop(on), socket(std::move(bound)), interest(on, socket.get()), on_datagram(std::move(callback)), buffer(65'536) {}
  Loop& loop;
  Fd socket;
  Interest interest;
  OnDatagram on_datagram;
  Bytes buffer;  ///< its own: what hears a datagram may use the loop's scratch buffer
  bool closed = false;

  static Task<void> run(std::shared_ptr<State> state) {
    while (!state->closed) {
      bool would_block = false;
      for (std::size_t count = 0; count < limits::datagrams_at_once && !would_block && !state->closed; ++count) {
        const auto got = receive_datagram(state->socket.get(), state->buffer, would_block);
        if (got) state->on_datagram(*got);
      }
      if (would_block) {
        state->interest.drained_read();
        auto ready = co_await state->interest.readable();
        if (!ready) co_return;
      } else if (!state->closed) {
        co_await state->loop.sleep(std::chrono::milliseconds(0));  // others get their turn
      }
    }
  }
};

DatagramEar::DatagramEar(Loop& loop, Fd socket, OnDatagram on_datagram)
    : state_(std::make_shared<State>(loop, std::move(socket), std::move(on_datagram))) {
  spawn(State::run(state_));
}

DatagramEar::~DatagramEar() {
  state_->closed = true;
  state_->interest.fail({Code::internal, "the socket is closed"});
}

int DatagramEar::fd() const { return state_->socket.get(); }

}  // namespace epif::net
