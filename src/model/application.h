#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/metadata.h"
#include "model/route.h"

namespace epif {

/// What a flow is sensitive to; chooses the method (article, Table II). In documents: "general", "bulk", "streaming",
/// "interactive", "time-critical", "http" (plain HTTP, request by request).
enum class Profile { general, bulk, streaming, interactive, time_critical, http };
/// How a flow is carried (dataplane.md "Methods"). `automatic` ("auto") lets the planner choose; `direct` is only a
/// result: no proxy at either end.
enum class Method { automatic, socks6, socks5, nginx, direct };

[[nodiscard]] std::string_view name(DataDirection direction);  ///< push, pull, both
[[nodiscard]] std::string_view name(Profile profile);
[[nodiscard]] std::string_view name(Method method);

/// Which programs of the source node a flow means; empty fields mean all.
struct Selector {
  std::string user;    ///< user name or number on the node
  std::string cgroup;  ///< path below /sys/fs/cgroup

  [[nodiscard]] bool empty() const { return user.empty() && cgroup.empty(); }
  friend bool operator==(const Selector&, const Selector&) = default;
};

/// One connection's purpose: `from` opens it to `port` of `to`, and data moves as `data` says.
struct Flow {
  std::string name;
  std::string from;  ///< client, "domain/node"
  std::string to;    ///< server, "domain/node"
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  DataDirection data = DataDirection::both;
  Profile profile = Profile::general;
  Method method = Method::automatic;
  std::uint64_t volume = 0;  ///< bytes expected; weighs the cost of chains
  Selector selector;
  bool replay_safe = false;  ///< `replay: safe`: data in a SYN allowed
  Origin origin;
  friend bool operator==(const Flow&, const Flow&) = default;
};

struct Application {
  Metadata metadata;
  std::string purpose;
  std::string archetype;
  std::vector<Flow> flows;  ///< in the document's order; names are unique
  friend bool operator==(const Application&, const Application&) = default;
};

}  // namespace epif
