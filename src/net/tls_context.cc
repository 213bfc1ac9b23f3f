#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <array>

#include "base/limits.h"
#include "net/tls.h"
#include "net/tls_error.h"

namespace epif::net {
namespace {

/// Why OpenSSL could not take a file: the system's words where it could not be read ("system lib" is OpenSSL's), else its own.
Error file_error(std::string what, const std::string& file, std::string advice = {}) {
  const auto first = ::ERR_peek_error();
  if (ERR_SYSTEM_ERROR(first)) return system_error(ERR_GET_REASON(first), std::move(what), file);
  return {Code::invalid_input, std::move(what), file, tls_reason(), std::move(advice)};
}

Result<std::shared_ptr<SSL_CTX>> make_context(const SSL_METHOD* method, const TlsFiles& files) {
  ::ERR_clear_error();
  std::shared_ptr<SSL_CTX> context(::SSL_CTX_new(method), ::SSL_CTX_free);
  if (!context) return fail(Code::internal, "cannot make a TLS context", {}, tls_reason());
  auto* ctx = context.get();
  ::SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
  // RFC 8446's mandatory suite first: its hash has instructions of its own in today's processors, and its cipher fewer rounds.
  ::SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
  // Idle connections give their record buffers back; read-ahead halves the system calls for each record.
  ::SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ::SSL_CTX_set_read_ahead(ctx, 1);
  ::SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (::SSL_CTX_use_certificate_chain_file(ctx, files.certificate.c_str()) != 1) {
    return fail(file_error("cannot load the certificate", files.certificate));
  }
  if (::SSL_CTX_use_PrivateKey_file(ctx, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return fail(file_error("cannot load the private key", files.key, "the key must be in PEM form and fit the certificate"));
  }
  if (::SSL_CTX_load_verify_locations(ctx, files.authority.c_str(), nullptr) != 1) {
    return fail(file_error("cannot load the CA certificate", files.authority));
  }
  return context;
}

/// Called by OpenSSL when a ticket was sent.
int keep_given(SSL* connection, SSL_SESSION* session) {
  auto* sessions = static_cast<TlsSessions*>(SSL_CTX_get_app_data(::SSL_get_SSL_CTX(connection)));
  unsigned length = 0;
  const auto* number = reinterpret_cast<const char*>(::SSL_SESSION_get_id(session, &length));
  if (auto* copy = ::SSL_SESSION_dup(session)) sessions->remember({number, length}, copy);
  return 0;  // the original stays the connection's
}

/// Called by OpenSSL for the number in a ticket that a client shows.
SSL_SESSION* find_given(SSL* connection, const unsigned char* number, int length, int* still_ours) {
  *still_ours = 0;
  const auto* sessions = static_cast<TlsSessions*>(SSL_CTX_get_app_data(::SSL_get_SSL_CTX(connection)));
  return sessions->copy({reinterpret_cast<const char*>(number), static_cast<std::size_t>(length)});
}

/// Called by OpenSSL when a ticket has arrived, which is after the handshake.
int keep_session(SSL* connection, SSL_SESSION* session) {
  const auto* stream = static_cast<const TlsStream*>(SSL_get_app_data(connection));
  auto* sessions = static_cast<TlsSessions*>(SSL_CTX_get_app_data(::SSL_get_SSL_CTX(connection)));
  if (stream == nullptr || sessions == nullptr || stream->resumes().empty()) return 0;
  if (auto* copy = ::SSL_SESSION_dup(session)) sessions->remember(stream->resumes(), copy);
  return 0;  // the original stays the connection's
}

}  // namespace

TlsContext::TlsContext(ssl_ctx_st* context) : context_(context) {}

Result<std::shared_ptr<TlsContext>> TlsContext::server(const TlsFiles& files) {
  auto made = make_context(::TLS_server_method(), files);
  if (!made) return fail(std::move(made.error()));
  auto* ctx = made->get();
  // Client certificates are asked for by the authority's name.
  ::SSL_CTX_set_client_CA_list(ctx, ::SSL_load_client_CA_file(files.authority.c_str()));
  // Sessions live with this context: a renewed certificate or authority makes a new one, and old tickets mean nothing there.
  std::array<unsigned char, 16> own{};
  ::RAND_bytes(own.data(), static_cast<int>(own.size()));
  ::SSL_CTX_set_session_id_context(ctx, own.data(), static_cast<unsigned>(own.size()));
  ::SSL_CTX_set_timeout(ctx, limits::tls_session_life_s);
  ::SSL_CTX_set_num_tickets(ctx, files.resume ? 1 : 0);
  ::SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);  // in TLS 1.3: none that holds the session itself
  ::SSL_CTX_up_ref(ctx);
  std::shared_ptr<TlsContext> context(new TlsContext(ctx));
  if (files.resume) {
    ::SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    ::SSL_CTX_sess_set_new_cb(ctx, keep_given);
    ::SSL_CTX_sess_set_get_cb(ctx, find_given);
  } else {
    ::SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  }
  SSL_CTX_set_app_data(ctx, &context->sessions_);
  return context;
}

Result<std::shared_ptr<TlsContext>> TlsContext::client(const TlsFiles& files) {
  auto made = make_context(::TLS_client_method(), files);
  if (!made) return fail(std::move(made.error()));
  auto* ctx = made->get();
  ::SSL_CTX_up_ref(ctx);
  std::shared_ptr<TlsContext> context(new TlsContext(ctx));
  if (files.resume) {
    ::SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    ::SSL_CTX_sess_set_new_cb(ctx, keep_session);
  } else {
    ::SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  }
  SSL_CTX_set_app_data(ctx, &context->sessions_);
  return context;
}

TlsContext::~TlsContext() { ::SSL_CTX_free(context_); }

}  // namespace epif::net
