#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

/// Owned OpenSSL handles, for the .cc files of this module that speak OpenSSL.
namespace epif::api {

template <auto free>
struct FreeWith {
  template <class T>
  void operator()(T* handle) const {
    free(handle);
  }
};
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;

/// From PEM; null if it is none.
[[nodiscard]] X509Ptr parse_certificate(std::string_view pem);
[[nodiscard]] KeyPtr parse_key(std::string_view pem);
[[nodiscard]] RequestPtr parse_request(std::string_view pem);

/// What a memory BIO holds.
[[nodiscard]] std::string text_of(BIO* bio);
/// The oldest error of OpenSSL's queue in its own words as `why`; empties the queue.
[[nodiscard]] Error openssl_error(Code code, std::string what, std::string where = {});

[[nodiscard]] std::string identity_of(const X509* certificate);
[[nodiscard]] std::chrono::sys_seconds expiry_of(const X509* certificate);
[[nodiscard]] std::string fingerprint_of(const X509* certificate);

}  // namespace epif::api
