#pragma once
#include <string>

#include "base/bytes.h"
#include "socks/decoded.h"

/// The property that every decoder keeps, for tests and fuzz targets.
namespace epif::socks {

/// Decodes every prefix of `stream`: it must say NeedMore up to one length, and from there on the same as for the whole
/// stream. Returns what is wrong, or nothing.
template <class Message>
[[nodiscard]] std::string split_difference(Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  const auto whole = decode(stream);
  bool decided = false;
  for (std::size_t length = 0; length <= stream.size(); ++length) {
    const Bytes exact(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(length));  // so that ASan sees overreads
    const auto part = decode(exact);
    const auto where = " at " + std::to_string(length);
    if (std::holds_alternative<NeedMore>(part)) {
      if (decided) return "asks for more after it had decided" + where;
      continue;
    }
    decided = true;
    if (part.index() != whole.index()) return "answers differently" + where;
    if (const auto* early = done(part)) {
      if (early->consumed > length) return "consumes more than there is" + where;
      if (early->consumed != done(whole)->consumed) return "consumes a different length" + where;
    }
    if (const auto* early = malformed(part); early && early->what != malformed(whole)->what)
      return "blames differently" + where;
  }
  if (!decided && !std::holds_alternative<NeedMore>(whole)) return "decided on the whole only";
  return {};
}

}  // namespace epif::socks
