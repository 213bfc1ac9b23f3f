#pragma once
#include <string>

// OpenSSL's own name, so that its headers stay in the .cc files.
struct x509_st;

namespace epif::net {

/// Whom a certificate names: its first URI SAN "epif://domain/node" without the scheme; empty if there is none. One with a NUL is none.
[[nodiscard]] std::string certificate_identity(const x509_st* certificate);

}  // namespace epif::net
