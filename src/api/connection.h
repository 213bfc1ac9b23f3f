#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "api/client.h"
#include "api/tls_context.h"

/// The client's side of one HTTP connection. Include only from the client's .cc files.
namespace epif::api {

/// A ClientOptions::url taken apart.
struct Endpoint {
  std::string host;  ///< name or address, without brackets; empty for a Unix socket
  std::string port;
  std::string path;  ///< of the Unix socket

  [[nodiscard]] static Result<Endpoint> parse(std::string_view url);
  [[nodiscard]] bool is_unix() const { return !path.empty(); }
  [[nodiscard]] std::string text() const;
};

struct Question {
  std::string method;
  std::string target;
  std::string body{};
  std::string content_type{};
  std::string token{};  ///< bearer token; a secret
};

/// Coroutine functions run on the executor the connection was made with. After an error only close() is of use.
class Connection {
 public:
  virtual ~Connection() = default;
  /// One request and its whole answer; `left` bounds all of it.
  [[nodiscard]] virtual boost::asio::awaitable<Result<Answer>> exchange(Question question, std::chrono::milliseconds left) = 0;
  /// Sends a request and reads the answer's header, for a stream. An answer other than 200 comes with its body.
  [[nodiscard]] virtual boost::asio::awaitable<Result<Answer>> open_stream(Question question, std::chrono::milliseconds left) = 0;
  /// The next bytes of the stream's body; empty at its end. `silence`: how long to wait for them.
  [[nodiscard]] virtual boost::asio::awaitable<Result<std::string>> read_stream(std::chrono::milliseconds silence) = 0;
  /// The server keeps it open for another request.
  [[nodiscard]] virtual bool reusable() const = 0;
  virtual void close() = 0;
  /// PEM certificates that the server showed, its own first; empty for a Unix socket.
  [[nodiscard]] virtual std::string chain() const = 0;
};

/// Resolves, connects and shakes hands. `verify_host` false only with unverified_context().
[[nodiscard]] boost::asio::awaitable<Result<std::unique_ptr<Connection>>> connect(Endpoint endpoint, TlsContext tls,
                                                                                 bool verify_host,
                                                                                 std::chrono::milliseconds left);

/// An answer of 4xx or 5xx as the Error that it states.
[[nodiscard]] Error error_of(const Answer& answer);

}  // namespace epif::api
