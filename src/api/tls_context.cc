#include "api/tls_context.h"

#include <openssl/ssl.h>

#include "api/openssl.h"

namespace epif::api {
namespace {

TlsContext tls13() {
  TlsContext context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
  SSL_CTX* handle = context.get();
  SSL_CTX_set_min_proto_version(handle, TLS1_3_VERSION);
  SSL_CTX_set_mode(handle, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(handle, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  // Control connections are few and long: resumption would only add keys to protect.
  SSL_CTX_set_session_cache_mode(handle, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(handle, 0);
  return context;
}

Result<> own_certificate(SSL_CTX* context, const TlsIdentity& tls) {
  const auto certificate = parse_certificate(tls.certificate);
  if (!certificate) return fail(openssl_error(Code::invalid_input, "not a certificate", "TLS certificate"));
  const auto key = parse_key(tls.key);
  if (!key) return fail(openssl_error(Code::invalid_input, "not a private key", "TLS key"));
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 || SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return fail(openssl_error(Code::invalid_input, "certificate and key do not belong together", "TLS certificate"));
  }
  return {};
}

Result<X509Ptr> trust(SSL_CTX* context, const std::string& authority) {
  auto ca = parse_certificate(authority);
  if (!ca) return fail(openssl_error(Code::invalid_input, "not a CA certificate", "TLS authority"));
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get());
  return ca;
}

}  // namespace

Result<TlsContext> server_context(const TlsIdentity& tls) {
  auto context = tls13();
  SSL_CTX* handle = context.get();
  if (auto own = own_certificate(handle, tls); !own) return fail(std::move(own.error()));
  auto ca = trust(handle, tls.authority);
  if (!ca) return fail(std::move(ca.error()));
  SSL_CTX_add1_chain_cert(handle, ca->get());
  SSL_CTX_add_client_CA(handle, ca->get());
  SSL_CTX_set_verify(handle, SSL_VERIFY_PEER, nullptr);
  return context;
}

Result<TlsContext> client_context(const TlsIdentity& tls) {
  auto context = tls13();
  SSL_CTX* handle = context.get();
  if (!tls.certificate.empty()) {
    if (auto own = own_certificate(handle, tls); !own) return fail(std::move(own.error()));
  }
  auto ca = trust(handle, tls.authority);
  if (!ca) return fail(std::move(ca.error()));
  SSL_CTX_set_verify(handle, SSL_VERIFY_PEER, nullptr);
  return context;
}

TlsContext unverified_context() {
  auto context = tls13();
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  return context;
}

}  // namespace epif::api
