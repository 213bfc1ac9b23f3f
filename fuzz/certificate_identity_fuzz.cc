// Certificates of other hosts: no crash, and one identity, which has no end in its middle and is still there when the certificate was
// written again.
#include <openssl/crypto.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "net/certificate_identity.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 64 * 1024) return 0;
  const auto* at = data;
  const std::unique_ptr<X509, decltype(&::X509_free)> certificate(::d2i_X509(nullptr, &at, static_cast<long>(size)), ::X509_free);
  const auto identity = epif::net::certificate_identity(certificate.get());
  if (identity.empty()) return 0;
  if (identity.find('\0') != std::string::npos) std::abort();
  if (identity.size() >= size) std::abort();
  unsigned char* written = nullptr;
  const auto length = ::i2d_X509(certificate.get(), &written);
  if (length <= 0) std::abort();
  const unsigned char* from = written;
  const std::unique_ptr<X509, decltype(&::X509_free)> again(::d2i_X509(nullptr, &from, length), ::X509_free);
  ::OPENSSL_free(written);
  if (epif::net::certificate_identity(again.get()) != identity) std::abort();
  return 0;
}
