#pragma once
#include <map>
#include <set>
#include <variant>

#include "admission/conversation.h"
#include "association/datagrams.h"
#include "association/destinations.h"
#include "association/next_association.h"
#include "association/stream_queue.h"
#include "net/relay.h"

namespace epif::association {

/// The client of an association, as its connection has shown it. All that is referred to outlives the association.
struct Client {
  net::Stream& stream;
  SocketAddress peer;
  Identity identity;  ///< empty in clear
  net::Carried& to_server;
  net::Carried& to_client;
  std::function<void(const Error& why)> cut;  ///< ends the connection now, with an error to the client
};

/// One UDP association: SOCKS5 with a relay port of its own towards the client, SOCKS6 over the proxy's UDP port or inside of
/// its connection. It lives as long as its connection. A datagram goes out only to a destination that a UDP route grants, and
/// comes in only from one. Lives in its session's coroutine frame.
class Association {
 public:
  Association(Datagrams& datagrams, Client client, const admission::ClientRequest& request);
  ~Association();
  Association(const Association&) = delete;
  Association& operator=(const Association&) = delete;

  /// Takes its place and opens its ports. Errors: no_route, limit, denied (a port below 1024), unsupported (a name to bind
  /// to), address_in_use, no_descriptors.
  [[nodiscard]] Result<> open();
  /// What the reply tells: SOCKS5 where the client sends to, SOCKS6 where remote hosts send to, and what became of its wishes.
  [[nodiscard]] SocketAddress bound() const;
  [[nodiscard]] socks6::StackOptions facts() const;
  /// Relays until the client's connection ends (success), nothing has come for too long (success), or it fails or is cut.
  /// `early`: what the client sent behind its request.
  [[nodiscard]] net::Task<Result<>> run(Bytes early);

  /// Where a SOCKS6 client's datagrams come from over UDP.
  struct UdpPath {
    std::shared_ptr<net::DatagramSocket> port;
    SocketAddress client;
    IpAddress local;
    friend bool operator==(const UdpPath&, const UdpPath&) = default;
  };
  /// A SOCKS6 datagram that came over UDP. The caller flushes the shared sender, then this.
  void take(const UdpPath& path, const socks6::UdpMessage& message);
  void flush();

  /// The routes have changed.
  void adopt();
  /// The proxy's UDP port is closed for this process: cut, if the client's datagrams go there or may be about to.
  void lose_port();
  /// As of Datagrams.
  void add_to(UdpCounts& counts, const Datagrams::Carried& carried) const;

 private:
  struct InStream {
    friend bool operator==(const InStream&, const InStream&) = default;
  };
  using Path = std::variant<std::monostate, InStream, UdpPath>;

  // association.cc: its life
  [[nodiscard]] Result<> open_remote();
  [[nodiscard]] Result<Fd> bind_remote();
  [[nodiscard]] net::DatagramOptions remote_options() const;
  /// Whose reservations these are. Names the session by its id, a bearer's credential: for no eyes.
  [[nodiscard]] std::string owner() const;
  [[nodiscard]] std::string client_name() const;  ///< identity or address, for logs
  [[nodiscard]] Asker asker() const;
  [[nodiscard]] Result<RoutePtr> decide(const Destination& destination);
  [[nodiscard]] std::chrono::seconds patience() const;
  void watch_idle();
  void end(Result<> outcome);
  void settle(const Destinations::Entry& entry);

  // association_client.cc: between the client and this proxy
  [[nodiscard]] net::Task<void> follow_connection(Bytes early);
  [[nodiscard]] net::Task<Result<>> read_connection(Bytes early);
  [[nodiscard]] net::Task<void> serve_relay();
  void take_packet(const net::Packet& packet);
  void take_message(const Path& path, const socks6::UdpMessage& message);
  /// Datagrams, or an error report, to the client by its path. The caller flushes.
  void to_client(const socks::Target& source, ByteSpan payload);
  void report(const SocketAddress& destination, socks6::UdpErrorCode code, const IpAddress& reporter);
  void flush_to_client();
  [[nodiscard]] net::PacketOptions client_packets(const UdpPath& path) const;

  // association_remote.cc: between this proxy and the other hosts
  [[nodiscard]] net::Task<void> serve_remote();
  void take_answer(const net::Packet& packet);
  void report_icmp();
  void to_server(const socks::Target& target, ByteSpan payload);
  void send(Destinations::Entry& entry, ByteSpan payload);
  void send_to_next(Destinations::Entry& entry, ByteSpan payload);
  [[nodiscard]] bool room_for_next();
  [[nodiscard]] NextAssociation* next_for(const RoutePtr& route);
  [[nodiscard]] NextAssociation::Listener listener(const std::string& route_id);
  void lost_next(const std::string& route_id, const Error& why) const;
  void take_from_next(const std::string& route_id, const socks::Target& source, ByteSpan payload);
  [[nodiscard]] bool may_answer(Destinations::Entry& entry, std::size_t bytes) const;
  void resolve(Destinations::Entry& entry);
  static net::Task<void> find_address(std::shared_ptr<Association*> alive, Destination asked, RoutePtr route);
  void resolved(const Destination& asked, Result<std::vector<IpAddress>> found);

  struct Next {
    std::shared_ptr<NextAssociation> association;
    net::TimePoint retry{};  ///< after a failure
    net::TimePoint used{};
    [[nodiscard]] bool ended() const { return !association || association->ended(); }
    void close() const {
      if (association) association->close();
    }
  };

  Datagrams& datagrams_;
  net::Loop& loop_;
  const Datagrams::Shared& shared_;
  Surroundings& around_;
  const Client client_;
  const admission::ClientRequest request_;
  QueuedBytes queued_;  ///< at this association's place
  std::map<std::string, net::Limiter::Place> route_places_;
  PortReservations::Held reserved_;
  Destinations destinations_;
  std::unique_ptr<net::DatagramSocket> remote_;
  std::unique_ptr<net::DatagramSocket> relay_;  ///< SOCKS5
  std::uint16_t client_port_ = 0;               ///< SOCKS5; 0: not known yet
  std::uint64_t number_ = 0;                    ///< SOCKS6
  socks6::StackOptions client_facts_;           ///< SOCKS6: in force between client and proxy, on either path
  Path path_;                                   ///< SOCKS6
  StreamQueue queue_;                           ///< SOCKS6
  std::map<std::string, Next> next_;            ///< by route
  std::set<net::Resolver::Asking*> asking_;     ///< names that are being resolved
  std::shared_ptr<Association*> alive_;         ///< null inside once this is gone
  net::Loop::Timer idle_;
  net::TimePoint used_{};
  bool used_once_ = false;
  bool over_ = false;
  Result<> outcome_{};
};

}  // namespace epif::association
