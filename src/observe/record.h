#pragma once
#include <cstdint>
#include <list>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "model/route.h"
#include "observe/segment.h"

/// What was seen, in bounded memory. Pure: segments and answers in, flows out.
namespace epif::observe {

/// Which program of this node took part, as far as it could be found.
struct Program {
  std::string name;  ///< as in /proc/PID/comm; empty: unknown
  std::string user;
  friend auto operator<=>(const Program&, const Program&) = default;
};

/// One service and who asks it: this node asks a peer's port, or a peer asks ours.
struct FlowKey {
  bool outgoing = true;  ///< this node opened it
  IpAddress peer;
  std::uint16_t port = 0;  ///< of the server
  Protocol protocol = Protocol::tcp;
  friend auto operator<=>(const FlowKey&, const FlowKey&) = default;
};

/// A connection as the kernel tells of it, whenever it began.
struct Standing {
  SocketAddress local, remote;
  bool outgoing = true;
  std::uint64_t sent = 0, received = 0;  ///< payload bytes since its beginning
};

struct FlowSeen {
  std::uint64_t connections = 0;     ///< or exchanges of datagrams
  std::uint64_t older = 0;           ///< of these, connections whose beginning was not seen
  std::uint64_t refused = 0;         ///< TCP: ended without an answer to the first segment
  std::uint64_t to_server_bytes = 0;
  std::uint64_t to_client_bytes = 0;
  std::set<Program> programs;        ///< at most limits::observed_programs
};

class Record {
 public:
  /// Takes a segment that this node sent (`sent`) or received. Gives the flow, if this segment began one; the caller may then
  /// look for its program.
  const FlowKey* take(const Segment& segment, bool sent);
  /// Takes a connection that stands, at the beginning or the end of the observation: one whose beginning was not seen counts as one,
  /// and its bytes are those of its whole life. Gives the flow as take() does.
  const FlowKey* take(const Standing& connection);
  void name(const IpAddress& address, const std::string& host);
  void note_program(const FlowKey& flow, Program program);

  [[nodiscard]] const std::map<FlowKey, FlowSeen>& flows() const { return flows_; }
  /// The last name that an answer gave for the address; empty: none.
  [[nodiscard]] std::string name_of(const IpAddress& address) const;
  [[nodiscard]] std::uint64_t left_out() const { return left_out_; }  ///< flows beyond the limit

 private:
  struct Ends {
    SocketAddress client, server;
    Protocol protocol = Protocol::tcp;
    friend auto operator<=>(const Ends&, const Ends&) = default;
  };
  struct Exchange {
    FlowKey flow;
    std::uint32_t client_begin = 0;
    std::uint32_t server_begin = 0;
    bool accepted = false;
    bool older = false;                         ///< its first sequence numbers are unknown
    std::uint64_t to_server = 0, to_client = 0;  ///< bytes that are counted already
    bool client_ended = false;
    bool server_ended = false;
    std::list<Ends>::iterator age;
  };
  const FlowKey* begin(const Ends& ends, bool outgoing);  ///< null beyond the limit
  const FlowKey* datagram(const Segment& segment, bool sent);
  void end(const Segment& segment);
  void note_ended(const Ends& ends);
  void forget_ended(const Ends& ends);
  Exchange* find(const Ends& ends);

  std::map<FlowKey, FlowSeen> flows_;
  std::map<Ends, Exchange> exchanges_;
  std::list<Ends> by_age_;  ///< oldest first; those make room
  std::map<Ends, std::list<Ends>::iterator> ended_;  ///< TCP whose end was seen and that did not begin again; the last ones
  std::list<Ends> ended_by_age_;
  std::map<IpAddress, std::string> names_;
  std::list<IpAddress> names_by_age_;
  std::uint64_t left_out_ = 0;
};

/// Of two ends of an exchange whose beginning was not seen: whether the first one is the client, by its higher port.
[[nodiscard]] bool looks_like_client(const SocketAddress& one, const SocketAddress& other);

}  // namespace epif::observe
