#include "api/event_parser.h"

#include "base/limits.h"

namespace epif::api {
namespace {

void take_line(std::string_view line, ServerEvent& event) {
  const auto colon = line.find(':');
  const auto field = line.substr(0, colon);
  auto value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "event") event.event = value;
  if (field == "id") event.id = value;
  if (field == "data") event.data += (event.data.empty() ? "" : "\n") + std::string(value);
}

}  // namespace

Result<std::optional<ServerEvent>> EventParser::next() {
  for (;;) {
    const auto end = waiting_.find("\n\n");
    if (end == std::string::npos) {
      if (waiting_.size() > limits::document_max_bytes) return fail(Code::protocol, "an event is too large");
      return std::optional<ServerEvent>();
    }
    ServerEvent event;
    for (std::size_t at = 0; at < end;) {
      const auto stop = std::min(waiting_.find('\n', at), end);
      take_line(std::string_view(waiting_).substr(at, stop - at), event);
      at = stop + 1;
    }
    waiting_.erase(0, end + 2);
    if (!event.event.empty()) return std::optional(std::move(event));
  }
}

}  // namespace epif::api
