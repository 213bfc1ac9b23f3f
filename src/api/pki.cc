#include "api/pki.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <array>
#include <cassert>

#include "api/openssl.h"
#include "base/bytes.h"
#include "base/ip.h"
#include "base/limits.h"

namespace epif::api {
namespace {

// Clocks of two hosts differ; a certificate is valid from a little before it was made.
constexpr long backdate_s = 300;
constexpr long authority_valid_s = 10L * 365 * 24 * 3600;
constexpr std::string_view identity_scheme = "epif://";

KeyPtr make_key() { return KeyPtr(EVP_EC_gen("P-256")); }

std::string key_pem(EVP_PKEY* key) {
  BioPtr bio(BIO_new(BIO_s_secmem()));
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) return {};
  return text_of(bio.get());
}

std::string certificate_pem(X509* certificate) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
  return text_of(bio.get());
}

bool set_serial(X509* certificate) {
  std::array<std::uint8_t, 16> random{};
  if (RAND_bytes(random.data(), random.size()) != 1) return false;
  random[0] &= 0x7f;  // positive
  BIGNUM* number = BN_bin2bn(random.data(), random.size(), nullptr);
  const bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  return ok;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  const bool ok = extension && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return ok;
}

bool set_name(X509* certificate, std::string_view common_name) {
  auto* name = X509_get_subject_name(certificate);
  // RFC 5280 bounds a common name at 64; the identity itself stands in the SAN.
  const auto text = common_name.substr(0, 64);
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}

/// Version, serial, validity and key; the rest is the caller's.
X509Ptr blank(EVP_PKEY* key, std::string_view common_name, long valid_s) {
  X509Ptr certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 || !set_serial(certificate.get()) ||
      !X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -backdate_s) ||
      !X509_gmtime_adj(X509_getm_notAfter(certificate.get()), valid_s) ||
      X509_set_pubkey(certificate.get(), key) != 1 || !set_name(certificate.get(), common_name)) {
    return {};
  }
  return certificate;
}

bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= limits::name_max_bytes &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*") == text.npos;
}

/// "URI:epif://a/b,DNS:x,IP:10.0.0.1", as OpenSSL's configuration language wants it; no part can hold a comma.
Result<std::string> alternative_names(const CertificateProfile& profile) {
  std::string names;
  if (!profile.identity.empty()) {
    if (!is_identity(profile.identity)) {
      return fail(Code::invalid_input, "not an identity", profile.identity, "it must read domain/node");
    }
    names = fmt::format("URI:{}{}", identity_scheme, profile.identity);
  }
  for (const auto& host : profile.hosts) {
    const bool is_ip = IpAddress::parse(host).has_value();
    if (!is_ip && !is_host_name(host)) return fail(Code::invalid_input, "not a host name or address", host);
    names += fmt::format("{}{}:{}", names.empty() ? "" : ",", is_ip ? "IP" : "DNS", host);
  }
  if (names.empty()) return fail(Code::invalid_input, "a certificate needs an identity or a host name");
  return names;
}

bool acceptable_key(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "ED25519")) return true;
  char group[32] = {};
  std::size_t size = 0;
  return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1 &&
         std::string_view(group, size) == "prime256v1";
}

}  // namespace

Result<std::string> make_request(std::string_view key_text) {
  const auto key = parse_key(key_text);
  RequestPtr request(X509_REQ_new());
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!key || !request || !bio || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 || X509_REQ_sign(request.get(), key.get(), EVP_sha256()) <= 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return fail(openssl_error(Code::invalid_input, "cannot make a certificate request for this key"));
  }
  return text_of(bio.get());
}

Result<KeyAndRequest> make_key_and_request() {
  const KeyPtr key = make_key();
  if (!key) return fail(openssl_error(Code::internal, "cannot make a key"));
  auto text = key_pem(key.get());
  auto request = make_request(text);
  if (!request) return fail(std::move(request.error()));
  return KeyAndRequest{std::move(text), std::move(*request)};
}

Result<CertificateAuthority> CertificateAuthority::create(const std::string& folder, std::string_view name) {
  const auto key_path = folder + "/ca.key";
  const auto certificate_path = folder + "/ca.crt";
  struct stat info{};
  for (const auto& path : {key_path, certificate_path}) {
    if (::lstat(path.c_str(), &info) == 0) {
      return fail(Code::conflict, "there is a certificate authority already", path, "it is never overwritten",
                  "use it, or move it away first");
    }
  }
  const KeyPtr key = make_key();
  if (!key) return fail(openssl_error(Code::internal, "cannot make the CA's key"));
  const X509Ptr made = blank(key.get(), fmt::format("{} CA", name), authority_valid_s);
  X509* ca = made.get();
  if (!ca || X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1 ||
      !add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !add_extension(ca, ca, NID_subject_key_identifier, "hash") || X509_sign(ca, key.get(), EVP_sha256()) <= 0) {
    return fail(openssl_error(Code::internal, "cannot make the CA's certificate"));
  }
  CertificateAuthority authority;
  authority.certificate_ = certificate_pem(ca);
  authority.key_ = key_pem(key.get());
  if (auto done = write_file(key_path, authority.key_, 0600); !done) return fail(std::move(done.error()));
  if (auto done = write_file(certificate_path, authority.certificate_, 0644); !done) return fail(std::move(done.error()));
  return authority;
}

Result<CertificateAuthority> CertificateAuthority::open(const std::string& folder) {
  const auto key_path = folder + "/ca.key";
  CertificateAuthority authority;
  auto key = read_file(key_path);
  if (!key) return fail(std::move(key.error()));
  struct stat info{};
  if (::stat(key_path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return fail(Code::permission, "the CA's key is readable by others", key_path, fmt::format("its mode is {:03o}", info.st_mode & 0777),
                "chmod 600 it, and think about who may have read it");
  }
  auto certificate = read_file(folder + "/ca.crt");
  if (!certificate) return fail(std::move(certificate.error()));
  const auto parsed = parse_certificate(*certificate);
  const auto parsed_key = parse_key(*key);
  if (!parsed || !parsed_key || X509_check_private_key(parsed.get(), parsed_key.get()) != 1) {
    return fail(openssl_error(Code::invalid_input, "CA key and certificate do not belong together", folder));
  }
  authority.certificate_ = std::move(*certificate);
  authority.key_ = std::move(*key);
  return authority;
}

std::string CertificateAuthority::fingerprint() const {
  auto fingerprint = fingerprint_of(certificate_);
  assert(fingerprint);
  return std::move(*fingerprint);
}

Result<std::string> CertificateAuthority::issue(std::string_view request_pem, const CertificateProfile& profile) const {
  const auto request = parse_request(request_pem);
  if (!request) return fail(openssl_error(Code::invalid_input, "not a certificate request"));
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (!key || !acceptable_key(key)) return fail(Code::invalid_input, "the request's key is neither P-256 nor Ed25519");
  // Proof that the asker holds the private key.
  if (X509_REQ_verify(request.get(), key) != 1) return fail(Code::invalid_input, "the request's own signature is wrong");
  auto names = alternative_names(profile);
  if (!names) return fail(std::move(names.error()));

  const auto ca = parse_certificate(certificate_);
  const auto ca_key = parse_key(key_);
  assert(ca && ca_key);
  const long valid = profile.valid.count() ? static_cast<long>(profile.valid.count()) : limits::certificate_valid_days * 24L * 3600;
  const X509Ptr made = blank(key, profile.identity.empty() ? profile.hosts.front() : profile.identity, valid);
  X509* certificate = made.get();
  if (!certificate || X509_set_issuer_name(certificate, X509_get_subject_name(ca.get())) != 1 ||
      !add_extension(certificate, ca.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(certificate, ca.get(), NID_key_usage, "critical,digitalSignature") ||
      !add_extension(certificate, ca.get(), NID_ext_key_usage, "serverAuth,clientAuth") ||
      !add_extension(certificate, ca.get(), NID_subject_alt_name, *names) ||
      !add_extension(certificate, ca.get(), NID_authority_key_identifier, "keyid:always") ||
      X509_sign(certificate, ca_key.get(), EVP_sha256()) <= 0) {
    return fail(openssl_error(Code::internal, "cannot issue a certificate", profile.identity));
  }
  return certificate_pem(certificate);
}

std::string identity_of(std::string_view pem) {
  const auto certificate = parse_certificate(pem);
  return certificate ? identity_of(certificate.get()) : std::string();
}

std::string identity_of(const X509* certificate) {
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::string identity;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const auto* uri = name->d.uniformResourceIdentifier;
    const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                                static_cast<std::size_t>(ASN1_STRING_length(uri)));
    if (text.starts_with(identity_scheme) && is_identity(text.substr(identity_scheme.size()))) {
      identity = text.substr(identity_scheme.size());
    }
  }
  GENERAL_NAMES_free(names);
  return identity;
}

Result<std::chrono::sys_seconds> expiry_of(std::string_view pem) {
  const auto certificate = parse_certificate(pem);
  if (!certificate) return fail(openssl_error(Code::invalid_input, "not a certificate"));
  return expiry_of(certificate.get());
}

std::chrono::sys_seconds expiry_of(const X509* certificate) {
  std::tm time{};
  ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time);
  return std::chrono::sys_seconds(std::chrono::seconds(timegm(&time)));
}

Result<std::string> fingerprint_of(std::string_view pem) {
  const auto certificate = parse_certificate(pem);
  if (!certificate) return fail(openssl_error(Code::invalid_input, "not a certificate"));
  return fingerprint_of(certificate.get());
}

std::string fingerprint_of(const X509* certificate) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  X509_digest(certificate, EVP_sha256(), digest.data(), &size);
  return to_hex(ByteSpan(digest).first(size));
}

bool is_identity(std::string_view text) {
  // The alphabet of metadata.name (src/model/metadata.h).
  constexpr std::string_view alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view inside = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  const auto part = [&](std::string_view name) {
    return !name.empty() && name.size() <= 63 && alphanumeric.contains(name.front()) && alphanumeric.contains(name.back()) &&
           name.find_first_not_of(inside) == name.npos;
  };
  const auto slash = text.find('/');
  return slash != text.npos && part(text.substr(0, slash)) && part(text.substr(slash + 1));
}

}  // namespace epif::api
