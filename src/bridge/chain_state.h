#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "bridge/chain.h"
#include "bridge/control.h"
#include "bridge/signal.h"

/// The inside of a Chain: one Link a BF, and what they share. Private to chain*.cc.
namespace epif::bridge {

inline constexpr std::size_t way_to_server = 0;
inline constexpr std::size_t way_to_client = 1;

/// One BF of one connection, as its control connection sees it.
class Link final : public ControlListener {
 public:
  Link(Chain::State& chain, ChainLink description) : chain_(chain), description_(std::move(description)) {}
  ~Link() override;

  void on_message(FromFunction message) override;
  void on_failure(const Error& why) override;

  void open(std::shared_ptr<Control> control, Open open);
  void start(Start start, Fd client, Fd server);
  void cut(const std::string& reason);
  /// Ends our part: no more messages are heard.
  void forget();

  [[nodiscard]] const ChainLink& description() const { return description_; }
  [[nodiscard]] bool answered() const { return accepted_ || denial_.has_value(); }
  [[nodiscard]] const std::optional<std::string>& denial() const { return denial_; }
  [[nodiscard]] const TextMap& metadata() const { return metadata_; }
  /// Bytes the BF wrote one way by its own word; empty until it announced the end.
  [[nodiscard]] const std::optional<std::uint64_t>& ended(std::size_t way) const { return ended_[way]; }
  [[nodiscard]] bool may_release() const { return may_release_; }
  [[nodiscard]] bool reported() const { return report_.has_value(); }
  [[nodiscard]] bool heard() const { return control_ != nullptr; }  ///< false once its control connection failed
  [[nodiscard]] const std::shared_ptr<Control>& control() const { return control_; }
  [[nodiscard]] FunctionReport report() const;

  /// The release protocol: the proxy kept the streams and joins them itself.
  std::array<Fd, 2> kept;                 ///< towards client, towards server; only if may_release()
  [[nodiscard]] const std::optional<Release>& released() const { return released_; }
  void announce(std::size_t way, std::uint64_t bytes) { ended_[way] = bytes; }

  // chain_move.cc
  [[nodiscard]] MovedLink moved();  ///< without its control
  void take_up(std::shared_ptr<Control> control, MovedLink moved);

 private:
  [[nodiscard]] Result<> take(FromFunction& message);
  void breach(const std::string& what);

  Chain::State& chain_;
  ChainLink description_;
  std::shared_ptr<Control> control_;
  std::uint64_t conn_ = 0;
  bool accepted_ = false;
  bool started_ = false;
  bool may_release_ = false;
  std::optional<std::string> denial_;
  TextMap metadata_;
  std::array<std::optional<std::uint64_t>, 2> ended_;
  std::optional<Release> released_;
  std::optional<Report> report_;
};

struct Chain::State {
  explicit State(net::Loop& on_loop) : loop(on_loop), opened(on_loop), ends{Signal(on_loop), Signal(on_loop)}, reports(on_loop) {}

  net::Loop& loop;
  FlowHeader header;
  std::vector<std::unique_ptr<Link>> links;
  std::optional<Error> failure;
  Signal opened;                ///< an answer to `open`
  std::array<Signal, 2> ends;   ///< by way: an end was announced, or the chain failed
  Signal reports;
  int splices = 0;              ///< released links whose neighbours we join ourselves

  // While it runs.
  net::Stream* client = nullptr;
  net::Stream* server = nullptr;
  bool direct_client = false;
  bool direct_server = false;
  std::unique_ptr<net::SocketStream> client_end;  ///< our end of the pair towards the first BF; null if direct
  std::unique_ptr<net::SocketStream> server_end;
  std::vector<Fd> joints;                         ///< both ends of the pairs between neighbours, so that a death is no end
  net::Carried from_client, to_client, from_server, to_server;
  std::uint64_t kernel_base_client = 0, kernel_base_server = 0;  ///< bytes read before the BF had the socket
  std::array<std::uint64_t, 2> written{};                ///< at client and server, before the BF had the socket
  std::array<bool, 2> passed{};                          ///< by way: its end was passed on at the peer's own socket
  bool lent = false;                                     ///< it runs, and the BFs have both peers' sockets
  bool left = false;                                     ///< it goes on in another process
  std::uint64_t counted_client = 0, counted_server = 0;  ///< the last good counts: a cut sets the kernel's back to zero
  std::optional<Error> server_broke;  ///< the server is gone; its last words may still be on their way to the client
  ChainLimits limits;
  net::Loop::Timer watch;
  std::uint64_t watched_bytes = 0;
  net::TimePoint watched_since{};

  /// The flow ends with an error at both peers; the first reason stays.
  void fail(Error why);
  void wake();
  /// True if every BF said that this way came to its proper end.
  [[nodiscard]] bool announced(std::size_t way) const;
  [[nodiscard]] std::uint64_t bytes_from_client();
  [[nodiscard]] std::uint64_t bytes_from_server();
  /// Watches limits on legs that a BF owns, by the kernel's counts.
  void watch_direct();
  /// Makes the pairs and sends every BF its two streams with the first part of the early bytes.
  [[nodiscard]] Result<> start(ByteSpan early_from_client, ByteSpan early_from_server);
  /// What follows the legs: the time that the BFs may take for their reports.
  [[nodiscard]] net::Task<ChainReport> finish();
  // chain_move.cc
  [[nodiscard]] bool may_leave() const;
  /// Without its peers' sockets.
  [[nodiscard]] MovedChain leave(const std::unordered_map<const Control*, std::size_t>& positions);
  /// Joins the neighbours of a link that released its streams.
  void splice(Link& link);
};

/// Before the end of a way reaches a peer: every BF must have announced it, and the last one's count must be what we carried.
class AnnouncedEnd final : public net::PumpGate {
 public:
  AnnouncedEnd(Chain::State& chain, std::size_t way) : chain_(chain), way_(way) {}
  [[nodiscard]] net::Task<Result<>> before_end(const net::Carried& carried) override;

 private:
  Chain::State& chain_;
  std::size_t way_;
};

/// The byte limit of a direction at its source.
class ByteLimit final : public net::PumpGate {
 public:
  ByteLimit(std::optional<std::uint64_t> most, std::string_view source) : most_(most), source_(source) {}
  [[nodiscard]] Result<> before_bytes(const net::Carried& carried, std::size_t more) override { return check(carried.bytes + more); }
  [[nodiscard]] Result<> check(std::uint64_t bytes) const;

 private:
  std::optional<std::uint64_t> most_;
  std::string_view source_;
};

/// Waits until every BF announced the end of a way, which may then be passed on. Errors: the chain's failure; what broke the
/// server, if that is where the way ends; bf_failed if `deadline` passes first.
[[nodiscard]] net::Task<Result<>> await_announced(Chain::State& chain, std::size_t way, net::TimePoint deadline);

/// By the kernel's word, what a TCP socket has received, how much of that was read, and what was written to it (sent or still
/// queued), in bytes; empty for other sockets.
[[nodiscard]] std::optional<std::uint64_t> kernel_received(int fd);
[[nodiscard]] std::optional<std::uint64_t> kernel_read(int fd);
[[nodiscard]] std::optional<std::uint64_t> kernel_written(int fd);

}  // namespace epif::bridge
