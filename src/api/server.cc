#include "api/server.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <thread>

#include "api/session.h"
#include "base/limits.h"
#include "base/log.h"
#include "net/handover.h"

namespace epif::api {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using unix_stream = asio::local::stream_protocol;
using ErrorCode = boost::system::error_code;
constexpr auto no_throw = asio::experimental::as_tuple(asio::use_awaitable);

ServerOptions with_defaults(ServerOptions options) {
  if (options.deadline_ms == 0) options.deadline_ms = limits::api_deadline_ms;
  if (options.heartbeat_ms == 0) options.heartbeat_ms = limits::watch_heartbeat_s * 1'000;
  if (options.connections == 0) options.connections = limits::api_connections;
  if (options.threads == 0) options.threads = 1;
  return options;
}

class AsioServer final : public Server {
 public:
  AsioServer(ServerOptions options, Router router)
      : sessions_(std::move(router), with_defaults(std::move(options))), tcp_(loop_), unix_(loop_), pause_(loop_), guard_(loop_.get_executor()) {}
  ~AsioServer() override;

  [[nodiscard]] Result<> open();
  [[nodiscard]] SocketAddress address() const override { return address_; }
  [[nodiscard]] Result<> set_tls(const TlsIdentity& tls) override;
  [[nodiscard]] Result<> succeed() override;

 private:
  [[nodiscard]] Result<> listen_tcp(const SocketAddress& where);
  [[nodiscard]] Result<> listen_unix(const std::string& path);
  asio::awaitable<void> accept_tcp();
  asio::awaitable<void> accept_unix();
  /// After a failed accept (descriptors used up): a pause, so that the loop does not spin.
  asio::awaitable<void> rest();
  [[nodiscard]] bool full() const { return sessions_.open.size() >= sessions_.options.connections; }

  asio::io_context loop_{1};
  Sessions sessions_;
  tcp::acceptor tcp_;
  unix_stream::acceptor unix_;
  asio::steady_timer pause_;
  TlsContext tls_;  // loop's thread only, once that runs
  SocketAddress address_;
  std::string unix_name_;
  std::uint64_t unix_inode_ = 0;  ///< of the socket that is ours to remove; a successor has its own under the name
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::thread thread_;
};

Error listen_error(const ErrorCode& error, const std::string& where) {
  auto result = system_error(error.value(), "cannot listen", where);
  if (result.code == Code::address_in_use) result.advice = "stop the program that listens there, or choose another address";
  return result;
}

Result<> AsioServer::listen_tcp(const SocketAddress& where) {
  auto address = asio::ip::make_address(where.ip.text());
  const tcp::endpoint endpoint(address, where.port);
  ErrorCode error;
  tcp_.open(endpoint.protocol(), error);
  if (!error) tcp_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) tcp_.bind(endpoint, error);
  if (!error) tcp_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail(listen_error(error, where.text()));
  address_ = {where.ip, tcp_.local_endpoint().port()};
  return {};
}

Result<> AsioServer::listen_unix(const std::string& path) {
  struct stat info{};
  ErrorCode error;
  const bool succeeds = sessions_.options.succeed_unix;
  unix_name_ = succeeds ? path + ".new" : path;
  if (const auto most = sizeof(sockaddr_un::sun_path) - 1 - (unix_name_.size() - path.size()); path.size() > most) {
    return fail(Code::limit, "the path of the socket is too long", path, fmt::format("at most {} bytes", most));
  }
  if (succeeds) ::unlink(unix_name_.c_str());
  if (!succeeds && ::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return fail(Code::conflict, "there is a file in the way of the socket", path);
    unix_stream::socket probe(loop_);
    probe.connect(unix_stream::endpoint(path), error);
    if (!error) return fail(Code::address_in_use, "cannot listen", path, "another process answers there", "stop it, or choose another path");
    ::unlink(path.c_str());  // its owner is dead
  }
  const auto old_mask = ::umask(0177);  // 0600 from the first moment
  unix_.open(unix_stream(), error);
  if (!error) unix_.bind(unix_stream::endpoint(unix_name_), error);
  ::umask(old_mask);
  if (!error) unix_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail(listen_error(error, path));
  unix_inode_ = net::inode_of(unix_name_);
  return {};
}

Result<> AsioServer::succeed() {
  const auto& path = sessions_.options.unix_path;
  if (unix_name_ == path) return {};
  if (::rename(unix_name_.c_str(), path.c_str()) != 0) return fail(system_error(errno, "cannot take over the socket", path));
  unix_name_ = path;
  return {};
}

Result<> AsioServer::open() {
  const auto& options = sessions_.options;
  if (options.tls) {
    auto context = server_context(*options.tls);
    if (!context) return fail(std::move(context.error()));
    tls_ = std::move(*context);
  }
  if (options.listen) {
    if (auto done = listen_tcp(*options.listen); !done) return done;
  }
  if (!options.unix_path.empty()) {
    if (auto done = listen_unix(options.unix_path); !done) return done;
  }
  if (tcp_.is_open()) asio::co_spawn(loop_, accept_tcp(), asio::detached);
  if (unix_.is_open()) asio::co_spawn(loop_, accept_unix(), asio::detached);
  thread_ = std::thread([this] { loop_.run(); });
  return {};
}

AsioServer::~AsioServer() {
  if (thread_.joinable()) {
    asio::post(loop_, [this] {
      sessions_.stopping = true;
      ErrorCode ignored;
      tcp_.close(ignored);
      unix_.close(ignored);
      pause_.cancel();
      for (auto* control : sessions_.open) control->stop();
      guard_.reset();
    });
    thread_.join();  // ends by itself when the last session has ended
  }
  sessions_.pool.join();
  net::unlink_own(unix_name_, unix_inode_);
}

Result<> AsioServer::set_tls(const TlsIdentity& tls) {
  auto context = server_context(tls);
  if (!context) return fail(std::move(context.error()));
  asio::post(loop_, [this, context = std::move(*context)]() mutable { tls_ = std::move(context); });
  return {};
}

asio::awaitable<void> AsioServer::rest() {
  pause_.expires_after(std::chrono::milliseconds(limits::accept_backoff_ms));
  co_await pause_.async_wait(no_throw);
}

asio::awaitable<void> AsioServer::accept_tcp() {
  while (!sessions_.stopping) {
    auto [error, socket] = co_await tcp_.async_accept(no_throw);
    if (sessions_.stopping) break;
    if (error) {
      log::warn("api", "cannot accept", {{"why", error.message()}});
      co_await rest();
      continue;
    }
    if (full()) continue;  // dropped: the cap protects those who are connected
    ErrorCode ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    if (tls_) {
      asio::co_spawn(loop_, serve_tls(std::move(socket), tls_, sessions_), asio::detached);
    } else {
      asio::co_spawn(loop_, serve_clear(std::move(socket), sessions_), asio::detached);
    }
  }
}

asio::awaitable<void> AsioServer::accept_unix() {
  while (!sessions_.stopping) {
    auto [error, socket] = co_await unix_.async_accept(no_throw);
    if (sessions_.stopping) break;
    if (error) {
      log::warn("api", "cannot accept", {{"why", error.message()}});
      co_await rest();
      continue;
    }
    if (!full()) asio::co_spawn(loop_, serve_unix(std::move(socket), sessions_), asio::detached);
  }
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, Router router) {
  auto server = std::make_unique<AsioServer>(std::move(options), std::move(router));
  if (auto opened = server->open(); !opened) return fail(std::move(opened.error()));
  return server;
}

}  // namespace epif::api
