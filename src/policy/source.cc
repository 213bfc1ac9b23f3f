#include "policy/source.h"

#include <algorithm>

namespace epif::policy {

std::string Source::where(std::uint32_t offset) const {
  std::size_t line = first_line;
  std::size_t column = first_column;
  for (const unsigned char c : std::string_view(text).substr(0, offset)) {
    if (c == '\n') {
      ++line;
      column = first_column;
    } else if ((c & 0xc0) != 0x80) {  // continuation bytes of UTF-8 are no characters of their own
      ++column;
    }
  }
  return name + ":" + std::to_string(line) + ":" + std::to_string(column);
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
