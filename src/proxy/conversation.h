#pragma once
#include <string>
#include <vector>

#include "base/ip.h"
#include "net/stream.h"
#include "proxy/users.h"
#include "socks/socks4.h"
#include "socks/socks5.h"
#include "socks/socks6.h"

namespace epif::proxy {

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
};

/// The server's side of SOCKS with one client, all versions on one port, told apart by the first byte. Bytes may come cut
/// and joined in any way.
class Conversation {
 public:
  /// `users` may be null or empty: no authentication. Both referents outlive it.
  Conversation(net::Stream& client, const Users* users) : client_(client), users_(users) {}

  /// Reads up to a whole request. The first byte may take until `first_byte`, all of it until `deadline` after that byte (or
  /// `first_byte`, if later). On a breach or a wrong password the client has got its answer already, if its version has one.
  /// Errors: protocol, unauthenticated, limit, timeout, truncated (the client left), the stream's.
  [[nodiscard]] net::Task<Result<ClientRequest>> read_request(net::TimePoint first_byte, std::chrono::milliseconds deadline);

  /// Answers the request. `stack`: what SOCKS6 tells about the options that it asked for.
  [[nodiscard]] net::Task<Result<>> answer(socks::Reply reply, SocketAddress bound, socks6::StackOptions stack = {});

  /// Refuses before reading a request, for a proxy that is full: answers whatever the client opened with.
  [[nodiscard]] net::Task<void> refuse_unread(std::chrono::milliseconds patience);

  /// Bytes after the request: the application's.
  [[nodiscard]] Bytes take_early() { return std::move(received_); }
  [[nodiscard]] const Bytes& peek_early() const { return received_; }
  [[nodiscard]] bool empty() const { return received_.empty(); }

 private:
  template <class Message>
  [[nodiscard]] net::Task<Result<socks::Done<Message>>> read(socks::Decoded<Message> (*decode)(ByteSpan));
  [[nodiscard]] net::Task<Result<>> receive();
  [[nodiscard]] net::Task<Result<>> send(ByteSpan bytes);
  [[nodiscard]] net::Task<Result<ClientRequest>> read_socks4();
  [[nodiscard]] net::Task<Result<ClientRequest>> read_socks5();
  [[nodiscard]] net::Task<Result<>> authenticate_socks5();
  [[nodiscard]] net::Task<Result<ClientRequest>> read_socks6();
  [[nodiscard]] net::Task<void> answer_malformed_socks6(socks::Fault fault);
  [[nodiscard]] bool needs_password() const { return users_ != nullptr && !users_->empty(); }
  void consume(std::size_t count) { received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(count)); }

  net::Stream& client_;
  const Users* users_;
  Bytes received_;
  net::TimePoint deadline_{};
  Protocol protocol_ = Protocol::socks5;
  socks6::AuthenticationReply authentication_;  ///< leaves together with the operation's reply
  std::optional<socks::Fault> fault_;           ///< of the last read()
};

/// Ends a connection whose last answer must arrive: closing with unread bytes would reset it, and the answer with it. Waits a
/// bounded time for the client to leave.
[[nodiscard]] net::Task<void> close_after_answer(net::Stream& client);

}  // namespace epif::proxy
