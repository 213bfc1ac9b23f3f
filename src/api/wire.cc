#include "api/wire.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <boost/asio/ssl/error.hpp>
#include <cassert>
#include <cerrno>

namespace epif::api {
namespace {

namespace asio = boost::asio;
using ErrorCode = Wire::ErrorCode;

/// What OpenSSL says of a step that went wrong; its queue of errors is that of this thread.
ErrorCode tls_error(int reason) {
  if (reason == SSL_ERROR_ZERO_RETURN) return asio::error::eof;
  const auto code = ::ERR_get_error();
  if (code == 0) return asio::ssl::error::stream_truncated;
  return {static_cast<int>(code), asio::error::get_ssl_category()};
}

}  // namespace

void Wire::FreeTls::operator()(ssl_st* tls) const { ::SSL_free(tls); }

Wire::Wire(Socket socket) {
  auto timer = asio::steady_timer(socket.get_executor());
  state_ = std::make_shared<State>(State{std::move(socket), std::move(timer)});
}
Wire::Wire(Wire&& other) noexcept = default;
Wire::~Wire() = default;

void Wire::close() {
  ErrorCode ignored;
  state_->socket.close(ignored);
}

/// Arms the deadline for one wait. Between waits nothing is pending, so an idle connection does not keep the loop running.
void Wire::watch_clock() {
  state_->late = false;
  state_->timer.expires_at(until_);
  state_->timer.async_wait([weak = std::weak_ptr(state_)](ErrorCode error) {
    const auto state = weak.lock();
    // A handler that was queued already when its wait ended belongs to a deadline gone by.
    if (error || !state || state->timer.expiry() > std::chrono::steady_clock::now()) return;
    state->late = true;
    ErrorCode ignored;
    state->socket.cancel(ignored);
  });
}

ErrorCode Wire::outcome(ErrorCode error) {
  state_->timer.cancel();
  return state_->late ? ErrorCode(asio::error::timed_out) : error;
}

asio::awaitable<ErrorCode> Wire::wait(asio::socket_base::wait_type what) {
  watch_clock();
  const auto [error] = co_await state_->socket.async_wait(what, no_throw);
  co_return outcome(error);
}

asio::awaitable<ErrorCode> Wire::connect(const asio::generic::stream_protocol::endpoint& where) {
  close();  // of an address tried before
  watch_clock();
  const auto [error] = co_await state_->socket.async_connect(where, no_throw);
  co_return outcome(error);
}

/// Waits first, so that a peer who never pauses does not keep others from the loop.
asio::awaitable<Wire::Moved> Wire::receive(std::span<char> into) {
  for (;;) {
    const auto error = co_await wait(asio::socket_base::wait_read);
    if (error) co_return Moved{error};
    const auto got = ::recv(state_->socket.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
    if (got > 0) co_return Moved{{}, static_cast<std::size_t>(got)};
    if (got == 0) co_return Moved{asio::error::eof};
    if (errno != EAGAIN && errno != EINTR) co_return Moved{ErrorCode(errno, boost::system::system_category())};
  }
}

asio::awaitable<ErrorCode> Wire::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto put = ::send(state_->socket.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(put));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) co_return ErrorCode(errno, boost::system::system_category());
    const auto error = co_await wait(asio::socket_base::wait_write);
    if (error) co_return error;
  }
  co_return ErrorCode();
}

ssl_st* Wire::begin_tls(const TlsContext& context) {
  assert(!tls_);
  tls_.reset(::SSL_new(context.get()));
  // Records pass through memory: OpenSSL never sees the socket.
  ::SSL_set_bio(tls_.get(), ::BIO_new(::BIO_s_mem()), ::BIO_new(::BIO_s_mem()));
  return tls_.get();
}

/// Repeats `step`, which returns 1 when it is done, and moves the records that it makes and wants.
asio::awaitable<ErrorCode> Wire::run_tls(std::function<int()> step) {
  char bytes[16 * 1024];
  for (;;) {
    ::ERR_clear_error();
    const int result = step();
    const int reason = ::SSL_get_error(tls_.get(), result);
    const bool failed = result != 1 && reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE;
    const ErrorCode error = failed ? tls_error(reason) : ErrorCode();
    BIO* made = ::SSL_get_wbio(tls_.get());
    char* records = nullptr;
    const auto size = BIO_get_mem_data(made, &records);
    const std::string_view outgoing(records, static_cast<std::size_t>(size));
    const auto unsent = co_await send(outgoing);
    (void)BIO_reset(made);
    if (failed) co_return error;  // with its alert sent, if that could be
    if (unsent || result == 1) co_return unsent;
    const auto got = co_await receive(bytes);
    if (got.error == asio::error::eof) co_return asio::ssl::error::stream_truncated;
    if (got.error) co_return got.error;
    ::BIO_write(::SSL_get_rbio(tls_.get()), bytes, static_cast<int>(got.size));
  }
}

asio::awaitable<ErrorCode> Wire::accept_handshake() {
  ::SSL_set_accept_state(tls_.get());
  return run_tls([tls = tls_.get()] { return ::SSL_do_handshake(tls); });
}

asio::awaitable<ErrorCode> Wire::connect_handshake() {
  ::SSL_set_connect_state(tls_.get());
  return run_tls([tls = tls_.get()] { return ::SSL_do_handshake(tls); });
}

asio::awaitable<ErrorCode> Wire::end_tls() {
  return run_tls([tls = tls_.get()] {
    const int result = ::SSL_shutdown(tls);
    return result == 0 ? ::SSL_shutdown(tls) : result;  // 0: ours is on its way, the peer's is not here
  });
}

asio::awaitable<Wire::Moved> Wire::read(std::span<char> into) {
  Moved moved;
  if (!tls_) {
    moved = co_await receive(into);
    co_return moved;
  }
  std::function<int()> step = [&moved, into, tls = tls_.get()] { return ::SSL_read_ex(tls, into.data(), into.size(), &moved.size); };
  moved.error = co_await run_tls(std::move(step));
  co_return moved;
}

asio::awaitable<ErrorCode> Wire::write(std::string_view bytes) {
  ErrorCode error;
  if (!tls_ || bytes.empty()) {
    error = co_await send(bytes);
    co_return error;
  }
  std::size_t put = 0;  // all: the memory that takes the records has no bound
  std::function<int()> step = [&put, bytes, tls = tls_.get()] { return ::SSL_write_ex(tls, bytes.data(), bytes.size(), &put); };
  error = co_await run_tls(std::move(step));
  co_return error;
}

}  // namespace epif::api
