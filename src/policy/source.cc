#include "policy/source.h"

#include <algorithm>

namespace epif::policy {

std::string Source::where(std::uint32_t offset) const {
  const auto before = std::string_view(text).substr(0, offset);
  const auto line = first_line + std::ranges::count(before, '\n');
  const auto line_text = before.substr(before.rfind('\n') + 1);  // npos + 1 is 0
  const auto characters = std::ranges::count_if(line_text, [](unsigned char c) { return (c & 0xc0) != 0x80; });  // UTF-8
  return name + ":" + std::to_string(line) + ":" + std::to_string(first_column + characters);
}

std::string Source::excerpt(Span span) const {
  constexpr std::size_t max_bytes = 120;
  std::string out;
  for (const char c : std::string_view(text).substr(span.begin, span.end - span.begin)) {
    const bool blank = c == ' ' || c == '\n' || c == '\r' || c == '\t';
    if (out.size() >= max_bytes && (blank || (static_cast<unsigned char>(c) & 0xc0) != 0x80)) return out + "...";
    if (!blank) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace epif::policy
