#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/chain_move.h"
#include "model/routing.h"
#include "net/limiter.h"

/// Flows in the hands of bridging functions, as a proxy gives them to its successor: what they are, and the words in which they cross the
/// hand-over's socket (docs/proxy-tcp.md). Pure, but for the descriptors that it holds.
namespace epif::proxy {

struct MovedFlow {
  Route route;  ///< under which it runs; the successor holds it against its own table
  SocketAddress peer;
  Identity identity{};
  Destination target;
  std::optional<Wish> wish{};
  std::uint64_t age_ms = 0;
  bridge::MovedChain chain{};
  /// Among its source's and its route's. Not told: each process has its own, and one of the two counts the flow at any moment.
  net::Limiter::Place place{};
  net::Limiter::Place route_place{};
};

/// Flows of one thread and the control connections that they share.
struct MovedFlows {
  std::uint16_t thread = 0;
  std::vector<bridge::MovedControl> controls;
  std::vector<MovedFlow> flows;
};

/// One message: one line of JSON, and at most net::descriptors_in_message descriptors.
struct Parcel {
  std::string text;
  std::vector<Fd> descriptors;
};

/// Ends connections whose sockets these are, with an error at both peers.
void reset_all(const std::vector<Fd>& descriptors);

/// In the order in which they are to be sent.
[[nodiscard]] std::vector<Parcel> pack(MovedFlows moved);

/// Puts messages together again. What is not whole at the end of its life is reset.
class Unpacking {
 public:
  Unpacking() = default;
  ~Unpacking() { drop(); }
  Unpacking(const Unpacking&) = delete;
  Unpacking& operator=(const Unpacking&) = delete;

  /// Nothing until the last message of a thread's flows is there. Errors: protocol. Then all of this thread's flows are reset, with their
  /// control connections, those still to come as well: a part of what belongs together would run unwatched.
  [[nodiscard]] Result<std::optional<MovedFlows>> take(std::string_view text, std::vector<Fd> descriptors);
  /// The same for a message that did not arrive whole.
  void spoil();

 private:
  [[nodiscard]] Result<bool> read(std::string_view text, std::vector<Fd>& descriptors);
  void drop();
  bool spoiled_ = false;
  MovedFlows moved_;
  std::optional<MovedFlow> flow_;  ///< whose descriptors are still to come
  std::vector<Fd> descriptors_;
};

}  // namespace epif::proxy
