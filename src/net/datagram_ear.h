#pragma once
#include <functional>
#include <memory>

#include "net/loop.h"
#include "net/udp.h"

namespace epif::net {

/// Hears datagrams on a socket until its destruction. On the loop's thread.
class DatagramEar {
 public:
  using OnDatagram = std::function<void(const Received& datagram)>;
  /// `socket` as made by udp_socket().
  DatagramEar(Loop& loop, Fd socket, OnDatagram on_datagram);
  ~DatagramEar();
  DatagramEar(const DatagramEar&) = delete;
  DatagramEar& operator=(const DatagramEar&) = delete;
  [[nodiscard]] int fd() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace epif::net
