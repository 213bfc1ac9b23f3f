#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

/// The built-in certificate authority: ECDSA P-256, X.509 v3, SHA-256 (OpenSSL 3). Private keys never leave the host that
/// made them: a joining side sends a certificate request (PKCS #10) and gets a certificate back.
namespace epif::api {

/// What a certificate says about its owner. At least one of `identity` and `hosts` is set.
struct CertificateProfile {
  std::string identity{};          ///< "domain/node", becomes the URI SAN "epif://domain/node"; empty: none
  std::vector<std::string> hosts{};///< DNS names and IP addresses of a server, become DNS and IP SANs
  std::chrono::seconds valid{};    ///< zero: limits::certificate_valid_days
};

/// A private key (PKCS #8 PEM; a secret) and the request (PEM) that asks for its certificate.
struct KeyAndRequest {
  std::string key;
  std::string request;
};
[[nodiscard]] Result<KeyAndRequest> make_key_and_request();
/// A request for a key that exists already (renewal).
[[nodiscard]] Result<std::string> make_request(std::string_view key);

/// What one side of a TLS connection needs. Client without certificate: only `authority`.
struct TlsIdentity {
  std::string certificate;  ///< PEM
  std::string key;          ///< PEM, a secret
  std::string authority;    ///< PEM of the CA that the other side must descend from
};

class CertificateAuthority {
 public:
  /// Makes `folder`/ca.crt (0644) and `folder`/ca.key (0600). conflict if either exists: a CA is never overwritten.
  [[nodiscard]] static Result<CertificateAuthority> create(const std::string& folder, std::string_view name = "epif");
  /// permission if ca.key is readable by others than its owner.
  [[nodiscard]] static Result<CertificateAuthority> open(const std::string& folder);

  [[nodiscard]] const std::string& certificate() const { return certificate_; }  ///< PEM
  /// SHA-256 of the CA's DER certificate, lower-case hex.
  [[nodiscard]] std::string fingerprint() const;
  /// Signs the public key of `request` with exactly the names of `profile`; names inside the request are ignored.
  /// invalid_input: not a request, bad self-signature, a key that is not P-256 or Ed25519.
  [[nodiscard]] Result<std::string> issue(std::string_view request, const CertificateProfile& profile) const;

 private:
  std::string certificate_;
  std::string key_;
};

/// The epif identity ("domain/node") in a PEM certificate's URI SAN; empty if it has none.
[[nodiscard]] std::string identity_of(std::string_view certificate);
/// End of validity of a PEM certificate.
[[nodiscard]] Result<std::chrono::sys_seconds> expiry_of(std::string_view certificate);
/// SHA-256 of a PEM certificate's DER form, lower-case hex.
[[nodiscard]] Result<std::string> fingerprint_of(std::string_view certificate);
/// Is "domain/node": two names as src/model/metadata.h states them.
[[nodiscard]] bool is_identity(std::string_view text);

/// Writes `text` to a new file beside `path`, syncs, and renames it over `path`, with `mode` from the first byte on.
[[nodiscard]] Result<> write_file(const std::string& path, std::string_view text, unsigned mode);
/// Removes what crashed writers of `path` left beside it. Only while nobody writes it.
void remove_unfinished(const std::string& path);
/// A whole file of at most limits::document_max_bytes.
[[nodiscard]] Result<std::string> read_file(const std::string& path);

}  // namespace epif::api
