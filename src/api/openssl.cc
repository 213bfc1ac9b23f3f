#include "api/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

namespace epif::api {
namespace {

BioPtr reader(std::string_view text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// Without this, OpenSSL would ask on the terminal for the passphrase of an encrypted key.
int no_passphrase(char*, int, int, void*) { return 0; }

}  // namespace

X509Ptr parse_certificate(std::string_view pem) {
  return X509Ptr(PEM_read_bio_X509(reader(pem).get(), nullptr, no_passphrase, nullptr));
}

KeyPtr parse_key(std::string_view pem) {
  return KeyPtr(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_passphrase, nullptr));
}

RequestPtr parse_request(std::string_view pem) {
  return RequestPtr(PEM_read_bio_X509_REQ(reader(pem).get(), nullptr, no_passphrase, nullptr));
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

Error openssl_error(Code code, std::string what, std::string where) {
  const auto number = ERR_get_error();
  std::string why;
  if (number != 0) {
    char words[256] = {};
    ERR_error_string_n(number, words, sizeof words);
    const char* reason = ERR_reason_error_string(number);
    why = reason ? reason : words;
  }
  ERR_clear_error();
  return {code, std::move(what), std::move(where), std::move(why), {}};
}

}  // namespace epif::api
