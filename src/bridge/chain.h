#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "bridge/hpke.h"
#include "model/route.h"
#include "net/relay.h"
#include "net/stream.h"
#include "net/task.h"

/// A proxy's part of a flow's chain of bridging functions: the host side of the BF contract (docs/bf-contract.md).
/// Order of a connection: open() every BF, connect upstream, run(). Everything here belongs to one loop's thread.
namespace epif::bridge {

class Chain;
class Control;
struct Departure;

/// The control connections of one loop thread: one per BF instance, made when first needed and again after a failure.
/// Outlives its chains.
class ControlPool {
 public:
  explicit ControlPool(net::Loop& loop);
  ~ControlPool();
  ControlPool(const ControlPool&) = delete;
  ControlPool& operator=(const ControlPool&) = delete;

  [[nodiscard]] net::Loop& loop() const { return loop_; }
  /// Instances with a live connection, for metrics.
  [[nodiscard]] std::size_t connected() const;
  /// Connects beforehand, so that the first flow does not pay for it. Errors as of Chain::open.
  [[nodiscard]] net::Task<Result<>> warm(ChainLink link, net::TimePoint deadline);

 private:
  friend class Chain;
  friend class Arrival;
  friend Departure depart(ControlPool& pool, std::span<Chain* const> running);
  [[nodiscard]] net::Task<Result<std::shared_ptr<Control>>> reach(const ChainLink& link, bool lent);
  net::Loop& loop_;
  std::map<std::string, std::shared_ptr<Control>> controls_;  ///< by use, process and socket path; or arrived from another process
  std::uint64_t arrived_ = 0;
};

/// What every BF of a chain is told about a connection.
struct FlowHeader {
  std::string flow;         ///< flow id of the route
  std::string source;       ///< identity "domain/node", or address in standalone use
  std::string destination;  ///< "host:port"
  DataDirection data = DataDirection::both;
  std::string purpose;
  std::map<std::string, std::string> metadata{};  ///< grows with what each BF adds in `accept`
};

/// Keys of this one connection by ChainLink.key_pair; from hpke::encapsulate or decapsulate.
using PairKeys = std::map<std::string, hpke::Secret>;

/// What one BF said at the end. Checked by the proxy only where `bytes_*` meet its own pumps.
struct FunctionReport {
  std::string function;
  std::string instance;
  std::uint64_t bytes_to_server = 0;  ///< that the function wrote
  std::uint64_t bytes_to_client = 0;
  std::string verdict;                        ///< "passed", "cut", "denied", "released"; "missing": no report came in time
  std::string note;                           ///< for people
  std::map<std::string, std::string> detail;  ///< "sha256_to_server" (hex) ...
};

struct ChainReport {
  std::uint64_t from_client = 0;  ///< bytes read from the client and from the server, before any function
  std::uint64_t from_server = 0;
  std::optional<Error> failure;   ///< empty: both directions came to their proper end
  std::vector<FunctionReport> functions;
  bool left = false;              ///< it goes on in another process (chain_move.h): nothing has ended, and the rest says nothing
};

struct ChainLimits {
  std::optional<std::uint64_t> from_client_bytes;  ///< more is an error: Code::limit, the flow is cut
  std::optional<std::uint64_t> from_server_bytes;
  std::uint32_t idle_s = limits::idle_timeout_s;
  std::uint32_t half_closed_s = limits::half_closed_timeout_s;
};

/// One connection's chain. Destroying it before run() ended tells the BFs `cut`; never destroy it while run() is suspended:
/// cut() first and let run() return.
class Chain {
 public:
  /// Asks every BF, nearest to the client first; all must accept within limits::bf_accept_deadline_ms together.
  /// Errors, each naming the BF: bf_denied (with its reason), bf_failed (not there, wrong process behind the socket, broken
  /// contract, no answer), no_descriptors; invalid_input if a link needs a key that `keys` lacks. `clear`: both peers' sockets may be
  /// lent; such chains have control connections of their own, so that they can leave together (chain_move.h).
  [[nodiscard]] static net::Task<Result<std::unique_ptr<Chain>>> open(ControlPool& pool, std::span<const ChainLink> links,
                                                                      FlowHeader header, const PairKeys& keys, bool clear = true);
  ~Chain();
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  /// Joins the streams through the BFs and returns when both directions ended or the flow was cut; then both streams have
  /// been ended properly or aborted (reset), never half of each. `early_*`: bytes already read from that side; freed as soon
  /// as they are passed on. The streams must outlive the call. Once per chain. The report is complete on failure, too.
  [[nodiscard]] net::Task<ChainReport> run(net::Stream& client, Bytes early_from_client, net::Stream& server,
                                           Bytes early_from_server, ChainLimits limits);

  /// The same for a chain that came from another process: its functions have the streams' sockets.
  [[nodiscard]] net::Task<ChainReport> run_on(net::Stream& client, net::Stream& server);

  /// Ends the flow now with an error at both peers (revocation). run() then returns soon with `why` as its failure.
  void cut(Error why);

  /// Bytes so far, readable at any moment on the loop's thread; on legs that a BF owns they come from the kernel.
  [[nodiscard]] std::uint64_t from_client() const;
  [[nodiscard]] std::uint64_t from_server() const;
  /// Why the flow ended with an error, or, before run(), must: a BF has died since it accepted.
  [[nodiscard]] const std::optional<Error>& failure() const;
  /// By itself it could go on in another process (chain_move.h).
  [[nodiscard]] bool may_leave() const;
  /// The metadata after all BFs accepted.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const;

  struct State;
  [[nodiscard]] State& state() const { return *state_; }  ///< for this folder

 private:
  friend class Arrival;
  explicit Chain(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace epif::bridge
