#pragma once
#include <set>
#include <unordered_map>

#include "net/datagrams.h"
#include "proxy/worker.h"
#include "socks/socks6_udp.h"

namespace epif::proxy {

/// UDP in one worker: its associations, the port where SOCKS6 clients send datagrams, and the buffers that all of them use in
/// turn.
class Worker::Datagrams {
 public:
  explicit Datagrams(Worker& worker) : worker_(worker) {}
  ~Datagrams();
  Datagrams(const Datagrams&) = delete;
  Datagrams& operator=(const Datagrams&) = delete;

  /// The worker's calls of the same names.
  void listen(Fd socket, std::uint16_t index, std::uint16_t sharing);
  void adopt();
  /// Takes no more datagrams of SOCKS6 clients; for the end, while the loop still runs.
  void close_ports();
  /// Adds what is not in the worker's own counters: open associations and the bytes of their destinations.
  void add_to(Counters& counters) const;

  /// From its call on an association hears of new routes, and SOCKS6 gets a number under which datagrams find it.
  void enter(Association& association);
  void leave(Association& association);
  [[nodiscard]] std::uint64_t give_number(Association& association);

  enum class Direction { to_server, to_client };
  /// Sends what was collected, and counts what became of it.
  void flush(Direction direction);
  [[nodiscard]] net::PacketReader& reader() { return buffers().reader; }
  [[nodiscard]] net::PacketSender& sender() { return buffers().sender; }

 private:
  struct Port;
  struct Buffers {
    net::PacketReader reader;
    net::PacketSender sender;
  };
  [[nodiscard]] Buffers& buffers() {
    if (!buffers_) buffers_ = std::make_unique<Buffers>();
    return *buffers_;
  }
  static net::Task<void> serve(std::shared_ptr<Port> port);
  void serve_batch(const std::shared_ptr<net::DatagramSocket>& socket);

  Worker& worker_;
  std::unique_ptr<Buffers> buffers_;
  std::vector<std::shared_ptr<Port>> ports_;
  std::set<Association*> associations_;
  std::unordered_map<std::uint64_t, Association*> by_number_;
  std::uint16_t index_ = 0;
  std::uint16_t sharing_ = 1;
};

}  // namespace epif::proxy
