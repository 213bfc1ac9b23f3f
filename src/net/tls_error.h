#pragma once
#include <string>

namespace epif::net {

/// OpenSSL's words for the latest failure of this thread.
[[nodiscard]] std::string tls_reason();

}  // namespace epif::net
