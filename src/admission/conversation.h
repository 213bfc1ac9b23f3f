#pragma once
#include <string>
#include <vector>

#include "admission/authentication.h"
#include "admission/chain_metadata.h"
#include "base/ip.h"
#include "net/stream.h"
#include "socks/socks4.h"
#include "socks/socks5.h"
#include "socks/socksx.h"

namespace epif::admission {

enum class Protocol { socks4, socks5, socks6 };
[[nodiscard]] std::string_view name(Protocol protocol);

/// A request, copied out of the buffer.
struct ClientRequest {
  Protocol protocol = Protocol::socks5;
  socks::Command command = socks::Command::connect;
  Destination target;
  std::string flow;                ///< flow id, or empty
  struct Encapsulation {
    std::string pair;
    std::array<std::uint8_t, 32> key;
  };
  std::vector<Encapsulation> encapsulations;
  socks6::StackOptions stack;
  std::optional<Destination> expected_peer;  ///< SOCKS6 BIND: by our option
  std::shared_ptr<ClientSession> session;  ///< SOCKS6: that the request belongs to; may be null
  std::optional<socks6::TrunkOption> trunk{};
  bool known = false;                      ///< the client showed a certificate or a password
  bool token_spent = false;                ///< SOCKS6: an idempotence token protects the request against replay
  std::optional<ChainMetadata> chain{};    ///< socksx: the proxies of its way by the client's word
};

/// The server's side of SOCKS with one client, all versions on one port, told apart by the first byte. Bytes may come cut
/// and joined in any way.
class Conversation {
 public:
  /// `client` outlives it.
  Conversation(net::Stream& client, Admission admission) : client_(client), admission_(std::move(admission)) {}

  /// Reads up to a whole request, authentication included. All of it may take until `deadline`; with `from_first_byte` that
  /// is for the first byte, and the rest has so long from there. On a breach, a wrong password or too many bytes the client
  /// has got its answer already, if its version has one. Errors: protocol, unauthenticated, limit, timeout, truncated (the
  /// client left), the stream's.
  [[nodiscard]] net::Task<Result<ClientRequest>> read_request(net::TimePoint deadline,
                                                              std::optional<std::chrono::milliseconds> from_first_byte = {});

  /// Answers the request; BIND twice. `stack`: what SOCKS6 tells about the options that it asked for.
  /// `more`: bytes of the server follow at once.
  [[nodiscard]] net::Task<Result<>> answer(socks::Reply reply, SocketAddress bound, socks6::StackOptions stack = {}, bool more = false);

  /// What the next answer, if it is a success, says of trunks.
  void consent(socks6::TrunkOption trunk) { trunk_ = trunk; }

  /// Refuses before reading a request, for a proxy that is full: answers whatever the client opened with. Errors: the client was told
  /// nothing: timeout (it said nothing), truncated (it left), the stream's.
  [[nodiscard]] net::Task<Result<>> refuse_unread(std::chrono::milliseconds patience);

  /// Waits once for more of the client's bytes after its request, until `deadline`, or until the stream's reader is nudged.
  /// Errors: truncated (the client left), limit (more than `most` bytes, or memory; what was read is held all the same), timeout,
  /// the stream's.
  [[nodiscard]] net::Task<Result<>> wait_with_client(net::TimePoint deadline, std::size_t most);

  /// Bytes after the request: the application's. They count as unread no longer: whoever carries them has bounds of its own.
  [[nodiscard]] Bytes take_early();
  [[nodiscard]] const Bytes& peek_early() const { return received_; }
  [[nodiscard]] bool empty() const { return received_.empty(); }

 private:
  template <class Message>
  [[nodiscard]] net::Task<Result<socks::Done<Message>>> read(socks::Decoded<Message> (*decode)(ByteSpan), std::size_t from = 0);
  [[nodiscard]] net::Task<Result<>> receive();
  [[nodiscard]] Result<> keep(ByteSpan bytes);
  [[nodiscard]] net::Task<Result<ClientRequest>> read_version();
  [[nodiscard]] net::Task<Result<ClientRequest>> refuse_version();
  [[nodiscard]] net::Task<Result<>> send(ByteSpan bytes, bool more = false);
  [[nodiscard]] net::Task<Result<ClientRequest>> read_socks4();
  [[nodiscard]] net::Task<Result<ClientRequest>> read_socks5();
  [[nodiscard]] net::Task<Result<>> authenticate_socks5();
  [[nodiscard]] net::Task<Result<ClientRequest>> read_socks6();
  [[nodiscard]] net::Task<Result<Dialogue>> ask_password(std::size_t at);
  [[nodiscard]] net::Task<void> answer_malformed_socks6(socks::Fault fault);
  void consume(std::size_t count) { received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(count)); }

  net::Stream& client_;
  Admission admission_;
  Bytes received_;
  net::TimePoint deadline_{};
  Protocol protocol_ = Protocol::socks5;
  Verdict verdict_;                     ///< of SOCKS6
  std::optional<socks6::TrunkOption> trunk_;
  bool authentication_told_ = false;    ///< it leaves together with the first reply to the operation
  std::optional<socks::Fault> fault_;           ///< of the last read()
};

/// Ends a connection whose last answer must arrive: closing with unread bytes would reset it, and the answer with it. Waits a
/// bounded time for the client to leave.
[[nodiscard]] net::Task<void> close_after_answer(net::Stream& client);

}  // namespace epif::admission
