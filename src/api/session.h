#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <set>

#include "api/server.h"
#include "api/tls_context.h"

/// One connection of the server. Include only from server.cc and session*.cc: Asio and Beast compile slowly.
namespace epif::api {

/// A session's hand brake and bell. Lives in the session's coroutine; touched on the loop's thread only.
struct SessionControl {
  explicit SessionControl(const boost::asio::any_io_executor& loop) : bell(loop) {}
  boost::asio::steady_timer bell;     ///< a watch sleeps on it
  bool rung = false;                  ///< woken between two sleeps
  bool stopping = false;
  std::function<void()> close_socket; ///< makes all pending I/O fail

  void ring() {
    rung = true;
    bell.cancel();
  }
  void stop() {
    stopping = true;
    if (close_socket) close_socket();
    ring();
  }
};

/// What all sessions of a server share; outlives them.
struct Sessions {
  Router router;
  ServerOptions options;  ///< zeros replaced by their defaults
  boost::asio::thread_pool pool;
  std::set<SessionControl*> open{};
  bool stopping = false;

  Sessions(Router routes, ServerOptions chosen)
      : router(std::move(routes)), options(std::move(chosen)), pool(options.threads) {}
};

/// Serve one accepted connection until it ends. They never throw.
[[nodiscard]] boost::asio::awaitable<void> serve_tls(boost::asio::ip::tcp::socket socket, TlsContext tls, Sessions& sessions);
[[nodiscard]] boost::asio::awaitable<void> serve_clear(boost::asio::ip::tcp::socket socket, Sessions& sessions);
[[nodiscard]] boost::asio::awaitable<void> serve_unix(boost::asio::local::stream_protocol::socket socket, Sessions& sessions);

}  // namespace epif::api
