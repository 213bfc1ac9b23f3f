#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "api/tls_context.h"

struct ssl_st;

/// The bytes of one HTTP connection. Include only from the .cc files that speak HTTP: Asio compiles slowly.
namespace epif::api {

inline constexpr auto no_throw = boost::asio::experimental::as_tuple(boost::asio::use_awaitable);

/// A TCP or Unix socket, in clear or under TLS: one class for all, so that what reads and writes it is compiled once. One
/// coroutine at a time uses it, on the socket's executor. After an error only close() is of use.
class Wire {
 public:
  using ErrorCode = boost::system::error_code;
  using Socket = boost::asio::generic::stream_protocol::socket;
  struct Moved {
    ErrorCode error{};  ///< eof at a proper end, ssl::error::stream_truncated where TLS ended without close_notify
    std::size_t size = 0;
  };

  explicit Wire(Socket socket);
  Wire(Wire&& other) noexcept;
  ~Wire();

  [[nodiscard]] Socket& socket() { return state_->socket; }
  /// Ends every wait `left` from now, with asio::error::timed_out, until it is called again.
  void expire_after(std::chrono::milliseconds left) { until_ = std::chrono::steady_clock::now() + left; }
  /// Makes what is pending fail.
  void close();

  /// Connects in clear, within the time set.
  [[nodiscard]] boost::asio::awaitable<ErrorCode> connect(const boost::asio::generic::stream_protocol::endpoint& where);
  /// From here on all bytes are TLS's; the handshake is the caller's next step.
  ssl_st* begin_tls(const TlsContext& context);
  [[nodiscard]] boost::asio::awaitable<ErrorCode> accept_handshake();
  [[nodiscard]] boost::asio::awaitable<ErrorCode> connect_handshake();
  /// Sends close_notify and waits for the peer's.
  [[nodiscard]] boost::asio::awaitable<ErrorCode> end_tls();
  [[nodiscard]] ssl_st* tls() const { return tls_.get(); }  ///< null in clear

  /// At least one byte, or an error.
  [[nodiscard]] boost::asio::awaitable<Moved> read(std::span<char> into);
  /// All of them. `bytes` stay the caller's.
  [[nodiscard]] boost::asio::awaitable<ErrorCode> write(std::string_view bytes);

 private:
  /// What the deadline's handler may outlive.
  struct State {
    Socket socket;
    boost::asio::steady_timer timer;
    bool late = false;
  };
  struct FreeTls {
    void operator()(ssl_st* tls) const;
  };
  void watch_clock();
  [[nodiscard]] ErrorCode outcome(ErrorCode error);
  [[nodiscard]] boost::asio::awaitable<ErrorCode> wait(boost::asio::socket_base::wait_type what);
  [[nodiscard]] boost::asio::awaitable<Moved> receive(std::span<char> into);
  [[nodiscard]] boost::asio::awaitable<ErrorCode> send(std::string_view bytes);
  [[nodiscard]] boost::asio::awaitable<ErrorCode> run_tls(std::function<int()> step);

  std::shared_ptr<State> state_;
  std::unique_ptr<ssl_st, FreeTls> tls_;
  std::chrono::steady_clock::time_point until_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace epif::api
