#pragma once
#include <memory>

#include "api/pki.h"
#include "base/error.h"

// OpenSSL's own name, so that its headers stay in the .cc files.
struct ssl_ctx_st;

/// TLS 1.3 contexts for the API's connections.
namespace epif::api {

using TlsContext = std::shared_ptr<ssl_ctx_st>;

/// Shows certificate and CA (a joining side pins the CA), asks for a client certificate and verifies it if one is given.
[[nodiscard]] Result<TlsContext> server_context(const TlsIdentity& tls);
/// Verifies the server against `authority`; shows a certificate if there is one.
[[nodiscard]] Result<TlsContext> client_context(const TlsIdentity& tls);
/// Verifies nothing: only to fetch the chain whose CA fingerprint is compared before anything is sent.
[[nodiscard]] TlsContext unverified_context();

}  // namespace epif::api
