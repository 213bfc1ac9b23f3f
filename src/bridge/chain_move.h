#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "bridge/chain.h"

/// Chains go on in another process: a proxy's successor takes them from it (dataplane.md, "The BF contract"). A chain whose functions hold
/// both peers' sockets passes no byte through this process: all that it has of it are copies of sockets, its part of the control
/// connections, and counts. Its functions notice nothing.
namespace epif::bridge {

/// A control connection as it changes hands. What its function has said and nobody has read yet goes with it.
struct MovedControl {
  std::string instance;
  std::uint64_t next_conn = 1;
  std::uint64_t received = 0;
  Fd socket{};
};

struct MovedLink {
  std::size_t control = 0;  ///< position in Departure::controls
  std::uint64_t conn = 0;
  bool may_release = false;
  std::array<std::optional<std::uint64_t>, 2> ended{};  ///< by way: to the server, to the client
  std::array<Fd, 2> kept{};                             ///< if it may release: towards client, towards server
};

/// One chain. Pairs are of client and server, or of the ways to server and to client.
struct MovedChain {
  std::vector<MovedLink> links;
  std::array<Fd, 2> peers{};                  ///< whose streams are the caller's: from and for it
  std::vector<Fd> joints;                     ///< both ends of the pairs between neighbours
  std::array<std::uint64_t, 2> early{};       ///< bytes that were read before the functions had the sockets and went to them
  std::array<std::uint64_t, 2> read{};        ///< by the kernel's count, before the functions had the sockets
  std::array<std::uint64_t, 2> written{};     ///< the same
  std::array<bool, 2> passed{};               ///< ways whose end was passed on
  ChainLimits limits;
};

/// Chains, each with its position among those that run, ascending, and their control connections; these carry nothing else.
struct Departure {
  std::vector<MovedControl> controls;
  std::vector<std::pair<std::size_t, MovedChain>> chains;
};

/// Takes out of this process those of `running` that can leave: whose functions hold both sockets, where nothing was released and nothing
/// failed, and whose control connections carry only such. run() of each returns soon with `left` set, and has touched nothing; the peers'
/// sockets can be taken out of their streams then, and `pool` has no copy of the control connections left. Empty if none can, or descriptors are short. All on their loop's thread.
[[nodiscard]] Departure depart(ControlPool& pool, std::span<Chain* const> running);

/// Control connections that arrived, not heard yet.
class Arrival {
 public:
  Arrival(ControlPool& pool, std::vector<MovedControl> controls);
  ~Arrival();
  Arrival(const Arrival&) = delete;
  Arrival& operator=(const Arrival&) = delete;

  /// A chain to run_on(), without its peers' sockets, which are the caller's. `links`: its route's, as they were when it was opened. Errors: protocol (it does not fit them).
  [[nodiscard]] Result<std::unique_ptr<Chain>> chain(std::span<const ChainLink> links, FlowHeader header, MovedChain moved);
  /// Functions are heard from here on: all chains must run, since what they have said already is told within this call.
  void hear();

 private:
  ControlPool& pool_;
  std::vector<std::shared_ptr<Control>> controls_;
};

}  // namespace epif::bridge
