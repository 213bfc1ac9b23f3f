#pragma once
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace epif::bridge {

struct HttpAnswer {
  int status = 0;
  std::string body;
};

/// The answer to one HTTP/1.1 request, read from `read` (0: the stream has ended) in whatever pieces it comes; what follows it is left
/// unread or dropped. `head`: the request was HEAD, so no body follows. Errors: those of `read`; engine, without a place, for an
/// answer that is broken, cut or has more than limits::document_max_bytes.
[[nodiscard]] Result<HttpAnswer> read_http_answer(const std::function<Result<std::size_t>(MutableByteSpan)>& read, bool head);

}  // namespace epif::bridge
