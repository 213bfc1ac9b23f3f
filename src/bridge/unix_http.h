#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "bridge/http_answer.h"

namespace epif::bridge {

/// One HTTP/1.1 request on a fresh connection to a Unix socket; blocks until the answer is whole or `deadline_ms` passed.
/// Errors: engine (nobody listens, no answer in time, broken answer). The answer is at most limits::document_max_bytes.
[[nodiscard]] Result<HttpAnswer> unix_http(const std::filesystem::path& socket, std::string_view method, std::string_view target,
                                           std::string_view content_type, ByteSpan body, std::uint32_t deadline_ms);

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3).
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace epif::bridge
