#pragma once
#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "api/pki.h"
#include "base/error.h"

/// TLS 1.3 contexts for Asio. Include only from the .cc files that speak HTTP.
namespace epif::api {

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

/// Shows certificate and CA (a joining side pins the CA), asks for a client certificate and verifies it if one is given.
[[nodiscard]] Result<TlsContext> server_context(const TlsIdentity& tls);
/// Verifies the server against `authority`; shows a certificate if there is one.
[[nodiscard]] Result<TlsContext> client_context(const TlsIdentity& tls);
/// Verifies nothing: only to fetch the chain whose CA fingerprint is compared before anything is sent.
[[nodiscard]] TlsContext unverified_context();

}  // namespace epif::api
