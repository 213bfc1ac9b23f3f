#pragma once
#include <functional>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "association/passed_datagram.h"
#include "association/port_reservations.h"
#include "association/surroundings.h"
#include "association/udp_counts.h"
#include "net/datagrams.h"
#include "net/limiter.h"
#include "net/resolver.h"
#include "net/unix_socket.h"
#include "socks/socks6_udp.h"

namespace epif::association {

class Association;

/// UDP in one thread: its associations, the port where SOCKS6 clients send datagrams, and the buffers that all of them use in
/// turn.
class Datagrams {
 public:
  /// What all threads share: thread-safe, or read-only after the start. Outlives all of this.
  struct Shared {
    net::Limiter& limiter;  ///< where routes give their places
    net::Limiter& associations;
    net::Limiter& next_associations;
    PortReservations& reservations;
    net::Resolver& resolver;
    const std::vector<SocketAddress>& name_servers;  ///< of the DNS service; empty: the system's
  };
  /// `surroundings` need not be whole yet.
  Datagrams(net::Loop& loop, Shared shared, Surroundings& surroundings) : loop_(loop), shared_(shared), surroundings_(surroundings) {}
  ~Datagrams();
  Datagrams(const Datagrams&) = delete;
  Datagrams& operator=(const Datagrams&) = delete;

  /// Takes SOCKS6 datagrams for associations of this thread, which is number `index` of `sharing` that share the port. After hand_over()
  /// it only answers by it, after let_go() it closes it.
  void listen(Fd socket, std::uint16_t index, std::uint16_t sharing);
  /// A successor reads the ports from here on: it passes on, by this channel (a SOCK_SEQPACKET pair's end), what it finds no association
  /// for. Answers leave by the ports as before.
  void hand_over();
  void hear_successor(Fd channel);
  /// No successor passes anything on, or none does any more: closes the ports, so that another proxy can have them, and cuts the
  /// associations that need them, since their clients would wait for nothing.
  void let_go();
  [[nodiscard]] bool has_let_go() const { return at_ports_ == AtPorts::nothing; }
  /// What has a number of no association here is for one of the predecessor's.
  void pass_on(Fd channel);
  /// The routes have changed.
  void adopt();
  /// Takes no more datagrams of SOCKS6 clients, from nobody; for the end, while the loop still runs.
  void close_ports();
  /// Told of each route that a destination has: what it has carried, beside what Surroundings were told.
  using Carried = std::function<void(const std::string& route, std::uint64_t to_server, std::uint64_t to_client)>;
  /// Adds what was counted here, and what open associations are at.
  void add_to(UdpCounts& counts, const Carried& carried) const;

  /// From its call on an association hears of new routes, and SOCKS6 gets a number under which datagrams find it.
  void enter(Association& association);
  void leave(Association& association);
  [[nodiscard]] std::uint64_t give_number(Association& association);

  enum class Direction { to_server, to_client };
  /// Sends what was collected, and counts what became of it.
  void flush(Direction direction);
  [[nodiscard]] net::PacketReader& reader() { return buffers().reader; }
  [[nodiscard]] net::PacketSender& sender() { return buffers().sender; }
  [[nodiscard]] net::Loop& loop() const { return loop_; }
  [[nodiscard]] const Shared& shared() const { return shared_; }
  [[nodiscard]] Surroundings& surroundings() const { return surroundings_; }
  [[nodiscard]] UdpCounts& counts() { return counts_; }

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
  struct Channel;
  static net::Task<void> serve(std::shared_ptr<Port> port);
  void serve_batch(const std::shared_ptr<net::DatagramSocket>& socket);
  static net::Task<void> hear(std::shared_ptr<Channel> channel);
  void serve_passed(ByteSpan message);
  void tell_all(void (Association::*what)());
  /// Gives it to its association, or to the predecessor. What was touched is to be flushed.
  void take(const PassedDatagram& one, const std::shared_ptr<net::DatagramSocket>& port, std::vector<Association*>& touched);
  void pass(const PassedDatagram& one);
  void flush(const std::vector<Association*>& touched);
  void flush_passed();

  net::Loop& loop_;
  const Shared shared_;
  Surroundings& surroundings_;
  UdpCounts counts_;
  std::unique_ptr<Buffers> buffers_;
  std::vector<std::shared_ptr<Port>> ports_;
  enum class AtPorts { reads, answers, nothing } at_ports_ = AtPorts::reads;
  std::shared_ptr<Channel> successor_;
  std::unique_ptr<net::SeqPacket> predecessor_;
  Bytes passed_;  ///< collected for it
  std::size_t passed_count_ = 0;
  std::set<Association*> associations_;
  std::unordered_map<std::uint64_t, Association*> by_number_;
  std::uint16_t index_ = 0;
  std::uint16_t sharing_ = 1;
};

}  // namespace epif::association
