#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "api/server.h"
#include "base/error.h"

namespace epif::api {

/// Server-sent events (WHATWG HTML, "9.2 Server-sent events") from a byte stream, incremental; "\n" line ends, as our server
/// writes them. Comments (heartbeats) are skipped.
class EventParser {
 public:
  void feed(std::string_view bytes) { waiting_ += bytes; }
  /// The next complete event; nothing: feed more. `protocol` for one beyond limits::document_max_bytes.
  [[nodiscard]] Result<std::optional<ServerEvent>> next();

 private:
  std::string waiting_;
};

}  // namespace epif::api
