#include "net/tls.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>

#include "net/certificate_identity.h"
#include "net/tls_error.h"

namespace epif::net {
namespace {

std::string identity_of(SSL* session) {
  std::unique_ptr<X509, decltype(&::X509_free)> certificate(::SSL_get1_peer_certificate(session), ::X509_free);
  return certificate_identity(certificate.get());
}

/// A resumed session checks no certificate: the one it began with may have come to its end since.
bool certificate_is_past(SSL* session) {
  std::unique_ptr<X509, decltype(&::X509_free)> certificate(::SSL_get1_peer_certificate(session), ::X509_free);
  return !certificate || ::X509_cmp_current_time(::X509_get0_notAfter(certificate.get())) <= 0;
}

/// A BIO over the stream's own socket that keeps the loop's idea of readiness true: a short read is noted, so that the
/// next wait needs no extra EAGAIN.
struct Wire {
  int fd;
  Interest* interest;
  bool ended = false;
};

int wire_read(BIO* bio, char* into, int size) {
  auto* wire = static_cast<Wire*>(::BIO_get_data(bio));
  ::BIO_clear_retry_flags(bio);
  if (!wire->interest->may_read()) {
    ::BIO_set_retry_read(bio);
    return -1;
  }
  const auto got = ::recv(wire->fd, into, static_cast<std::size_t>(size), 0);
  wire->ended = got == 0;
  if (got > 0) {
    if (got < size) wire->interest->blocked_read();
  } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    if (errno == EAGAIN) wire->interest->drained_read();
    ::BIO_set_retry_read(bio);
  }
  return static_cast<int>(got);
}

int wire_write(BIO* bio, const char* from, int size) {
  auto* wire = static_cast<Wire*>(::BIO_get_data(bio));
  ::BIO_clear_retry_flags(bio);
  const auto put = ::send(wire->fd, from, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  // EINPROGRESS: the SYN has waited for these bytes, and left without them.
  if (put < 0 && (errno == EAGAIN || errno == EINTR || errno == EINPROGRESS)) {
    if (errno != EINTR) wire->interest->blocked_write();
    ::BIO_set_retry_write(bio);
  }
  return static_cast<int>(put);
}

long wire_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return static_cast<Wire*>(::BIO_get_data(bio))->ended ? 1 : 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int wire_free(BIO* bio) {
  delete static_cast<Wire*>(::BIO_get_data(bio));
  return 1;
}

BIO* make_wire(int fd, Interest& interest) {
  static const std::unique_ptr<BIO_METHOD, decltype(&::BIO_meth_free)> method = [] {
    auto* made = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "epif wire");
    ::BIO_meth_set_read(made, wire_read);
    ::BIO_meth_set_write(made, wire_write);
    ::BIO_meth_set_ctrl(made, wire_control);
    ::BIO_meth_set_destroy(made, wire_free);
    return std::unique_ptr<BIO_METHOD, decltype(&::BIO_meth_free)>(made, ::BIO_meth_free);
  }();
  BIO* bio = ::BIO_new(method.get());
  ::BIO_set_data(bio, new Wire{fd, &interest, false});
  ::BIO_set_init(bio, 1);
  return bio;
}

Error handshake_error(SSL* session, int reason, int error_number) {
  const auto verdict = ::SSL_get_verify_result(session);
  if (verdict != X509_V_OK) {
    return {Code::unauthenticated, "the peer's certificate is refused", {}, ::X509_verify_cert_error_string(verdict),
            "both sides need certificates of the same CA"};
  }
  if (reason == SSL_ERROR_SYSCALL && ::ERR_peek_last_error() == 0) {
    if (error_number == ECONNREFUSED || error_number == EHOSTUNREACH || error_number == ENETUNREACH || error_number == ETIMEDOUT) {
      return system_error(error_number, "cannot connect");
    }
    return {Code::reset, "the peer broke the connection in the TLS handshake"};
  }
  const auto why = tls_reason();
  const bool certificate = why.find("certificate") != std::string::npos || why.find("unknown ca") != std::string::npos;
  return {certificate ? Code::unauthenticated : Code::protocol, "the TLS handshake failed", {}, why};
}

}  // namespace

std::string tls_reason() {
  const auto code = ::ERR_peek_last_error();
  const char* reason = ::ERR_reason_error_string(code);
  return reason == nullptr ? "unknown TLS failure" : reason;
}

void TlsStream::offer_session(const TlsContext& context, const SocketAddress& to, const std::string& expected_identity) {
  ::SSL_set_connect_state(session_);
  // Whom we ask for, and where: a session with one peer is never offered to another.
  resumes_ = expected_identity + '@' + to.text();
  context_ = context.shared_from_this();
  SSL_set_app_data(session_, this);
  auto* known = context.sessions().copy(resumes_);
  if (known == nullptr) return;
  ::SSL_set_session(session_, known);
  ::SSL_SESSION_free(known);
}

std::chrono::sys_seconds TlsStream::peer_certificate_end() const {
  std::unique_ptr<X509, decltype(&::X509_free)> certificate(::SSL_get1_peer_certificate(session_), ::X509_free);
  std::tm time{};
  // What cannot be read counts as past.
  if (!certificate || ::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate.get()), &time) != 1) return {};
  return std::chrono::sys_seconds(std::chrono::seconds(::timegm(&time)));
}

bool TlsStream::resumed() const { return ::SSL_session_reused(session_) == 1; }

TlsStream::~TlsStream() { ::SSL_free(session_); }

Task<Result<std::unique_ptr<TlsStream>>> TlsStream::shake(std::unique_ptr<SocketStream> socket, const TlsContext& context,
                                                          std::optional<SocketAddress> to, std::string expected_identity,
                                                          TimePoint deadline, Cancel* cancel) {
  Loop& loop = socket->loop();
  SSL* session = ::SSL_new(context.native());
  if (session == nullptr) co_return fail(Code::internal, "cannot start TLS", {}, tls_reason());
  std::unique_ptr<TlsStream> stream(new TlsStream(loop, SocketStream::release(std::move(socket)), session));
  const Cancel::Stage stage(cancel, *stream);
  const bool as_server = !to;
  BIO* wire = make_wire(stream->fd(), stream->interest_);
  ::SSL_set_bio(session, wire, wire);
  if (as_server) {
    ::SSL_set_accept_state(session);
  } else {
    stream->offer_session(context, *to, expected_identity);
  }
  for (;;) {
    ::ERR_clear_error();
    errno = 0;
    const int result = ::SSL_do_handshake(session);
    const int error_number = errno;
    if (result == 1) break;
    // The client goes on with the ticket that it has: a further one would only cost.
    if (as_server && ::SSL_session_reused(session) == 1) ::SSL_set_num_tickets(session, 0);
    const int reason = ::SSL_get_error(session, result);
    if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
      if (!as_server) context.sessions().forget(stream->resumes_);
      co_return fail(handshake_error(session, reason, error_number));
    }
    Result<> ready;
    if (reason == SSL_ERROR_WANT_READ) {
      ready = co_await stream->interest_.readable(deadline);
    } else {
      ready = co_await stream->interest_.writable(deadline);
    }
    if (!ready) co_return fail(std::move(ready.error()));
  }
  stream->buffered_ = ::SSL_has_pending(session) == 1;
  stream->identity_ = identity_of(session);
  if (::SSL_session_reused(session) == 1 && certificate_is_past(session)) {
    context.sessions().forget(stream->resumes_);
    co_return fail(Code::expired, "the peer's certificate is past its end", {}, "the session began before");
  }
  if (stream->identity_.empty()) {
    co_return fail(Code::unauthenticated, "the peer's certificate names no epif:// identity");
  }
  if (!expected_identity.empty() && stream->identity_ != expected_identity) {
    co_return fail(Code::unauthenticated,
                   fmt::format("the peer is '{}', not '{}' as the route says", stream->identity_, expected_identity));
  }
  ++context.handshakes_;
  co_return stream;
}

Task<Result<std::unique_ptr<TlsStream>>> TlsStream::accept(std::unique_ptr<SocketStream> socket, const TlsContext& context,
                                                           TimePoint deadline) {
  return shake(std::move(socket), context, std::nullopt, {}, deadline, nullptr);
}

Task<Result<std::unique_ptr<TlsStream>>> TlsStream::connect(std::unique_ptr<SocketStream> socket, SocketAddress to,
                                                            const TlsContext& context, std::string expected_identity, TimePoint deadline,
                                                            Cancel* cancel) {
  return shake(std::move(socket), context, to, std::move(expected_identity), deadline, cancel);
}

Io TlsStream::outcome(int result, bool reading) {
  switch (::SSL_get_error(session_, result)) {
    case SSL_ERROR_WANT_READ:
      // A TLS 1.3 write never waits for the peer's bytes; waiting for room to write would spin.
      if (!reading) return fail_with({Code::protocol, "TLS cannot write before it has read"});
      return {Io::State::would_block};
    case SSL_ERROR_WANT_WRITE:
      read_needs_write_ = reading;
      return {Io::State::would_block};
    case SSL_ERROR_ZERO_RETURN: return {reading ? Io::State::end : Io::State::failed};
    default: break;
  }
  if (!reading) return {Io::State::failed};
  const bool cut = ERR_GET_REASON(::ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
  if (cut) return fail_with({Code::truncated, "the peer's stream ended without close_notify"});
  if (::ERR_peek_last_error() == 0) return fail_with({Code::reset, "the peer broke the connection"});
  return fail_with({Code::protocol, "TLS failed", {}, tls_reason()});
}

Io TlsStream::read_some(MutableByteSpan into) {
  if (interest_.error() != nullptr) return {Io::State::failed};
  ::ERR_clear_error();
  read_needs_write_ = false;
  std::size_t got = 0;
  const int result = ::SSL_read_ex(session_, into.data(), into.size(), &got);
  buffered_ = ::SSL_has_pending(session_) == 1 && result == 1;
  return result == 1 ? Io{Io::State::moved, got} : outcome(result, true);
}

Io TlsStream::write_some(ByteSpan from, bool) {
  if (interest_.error() != nullptr) return {Io::State::failed};
  ::ERR_clear_error();
  std::size_t put = 0;
  const int result = ::SSL_write_ex(session_, from.data(), from.size(), &put);
  return result == 1 ? Io{Io::State::moved, put} : outcome(result, false);
}

Io TlsStream::end_write() {
  if (interest_.error() != nullptr) return {Io::State::failed};
  ::ERR_clear_error();
  const int result = ::SSL_shutdown(session_);
  return result >= 0 ? Io{Io::State::moved} : outcome(result, false);
}

Stream::Mover TlsStream::leave_loop() {
  struct Parts {
    Fd fd;
    std::unique_ptr<SSL, decltype(&::SSL_free)> session;
    std::string identity;
  };
  SSL_set_app_data(session_, nullptr);  // of a client: tickets that come later are not kept
  Parts parts{std::move(fd_), {std::exchange(session_, nullptr), ::SSL_free}, std::move(identity_)};
  return [parts = std::move(parts)](Loop& loop) mutable -> std::unique_ptr<Stream> {
    std::unique_ptr<TlsStream> moved(new TlsStream(loop, std::move(parts.fd), parts.session.release()));
    moved->identity_ = std::move(parts.identity);
    moved->buffered_ = ::SSL_has_pending(moved->session_) == 1;
    static_cast<Wire*>(::BIO_get_data(::SSL_get_rbio(moved->session_)))->interest = &moved->interest_;
    return moved;
  };
}

void TlsStream::abort(Error why) {
  if (!aborted_) reset_socket(fd_.get());
  aborted_ = true;
  interest_.fail(std::move(why));
}

}  // namespace epif::net
