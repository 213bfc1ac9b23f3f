#include "net/certificate_identity.h"

#include <openssl/x509v3.h>

#include <string_view>

namespace epif::net {

std::string certificate_identity(const x509_st* certificate) {
  constexpr std::string_view scheme = "epif://";
  if (certificate == nullptr) return {};
  auto* names = static_cast<GENERAL_NAMES*>(::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::string identity;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const auto* uri = name->d.uniformResourceIdentifier;
    const std::string_view text(reinterpret_cast<const char*>(::ASN1_STRING_get0_data(uri)),
                                static_cast<std::size_t>(::ASN1_STRING_length(uri)));
    if (text.starts_with(scheme) && text.find('\0') == std::string_view::npos) {
      identity = text.substr(scheme.size());
      break;
    }
  }
  ::GENERAL_NAMES_free(names);
  return identity;
}

}  // namespace epif::net
