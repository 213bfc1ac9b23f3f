// Server-sent events from another host: no crash, the same events for every split, and one that is written as our server writes it is
// read again as the same.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "api/event_parser.h"

using namespace epif;

namespace {

constexpr std::size_t splits_max_bytes = 256;

class Events {
 public:
  void feed(std::string_view bytes) {
    parser_.feed(bytes);
    for (;;) {
      const auto next = parser_.next();
      if (!next) std::abort();  // only what is too large is a fault
      if (!*next) return;
      text_ += "event: " + (*next)->event + "\nid: " + (*next)->id + "\n";
      // A line each, as our server has one of it.
      for (std::string_view rest = (*next)->data;;) {
        const auto end = rest.find('\n');
        text_ += "data: " + std::string(rest.substr(0, end)) + "\n";
        if (end == rest.npos) break;
        rest.remove_prefix(end + 1);
      }
      text_ += "\n";
      if ((*next)->event.find('\n') != std::string::npos || (*next)->id.find('\n') != std::string::npos) std::abort();
    }
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  api::EventParser parser_;
  std::string text_;
};

std::string read(std::string_view bytes, std::size_t cut) {
  Events events;
  events.feed(bytes.substr(0, cut));
  events.feed(bytes.substr(cut));
  return events.text();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = read(bytes, size);
  for (std::size_t cut = 0; cut < std::min(size, splits_max_bytes); ++cut) {
    if (read(bytes, cut) != whole) std::abort();
  }
  if (read(whole, whole.size()) != whole) std::abort();
  return 0;
}
