// Request targets of the API's clients: no crash, no way around a segment's end, and what was read can be written and read again.
#include <cstdlib>

#include "api/target.h"

using namespace epif;

namespace {

void check_path(std::string_view path) {
  const auto parts = api::segments(path);
  if (!parts) return;
  if (api::raw_segments(path).size() != parts->size()) std::abort();
  std::string again;
  for (const auto& part : *parts) {
    if (part.empty() || part == "." || part == ".." || part.find('\0') != part.npos) std::abort();
    again += "/" + api::encode(part);
  }
  if (api::segments(again.empty() ? "/" : again) != parts) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto same_text = api::decode(api::encode(text));
  if (text.find('\0') == text.npos ? same_text != text : same_text.has_value()) std::abort();
  const auto target = api::parse_target(text);
  if (!target) return 0;
  check_path(target->path);
  auto again = target->path;
  for (const auto& [key, value] : target->query) {
    again += (again.find('?') == again.npos ? "?" : "&") + api::encode(key) + "=" + api::encode(value);
  }
  const auto same = api::parse_target(again);
  if (!same || same->path != target->path || same->query != target->query) std::abort();
  return 0;
}
