#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "socks/decoded.h"

/// The property that every decoder keeps, for tests and fuzz targets.
namespace epif::socks {

inline constexpr std::size_t all_splits_max_bytes = 2048;  ///< of a longer stream some prefixes are tried
inline constexpr std::size_t head_splits = 320;            ///< of it the first: fixed fields, the address, the first options
inline constexpr std::size_t drawn_splits = 48;            ///< and some that its bytes draw

/// The shortest prefix on which `decode` decides, by halving; one more than the stream if there is none.
template <class Message>
[[nodiscard]] std::size_t decided_at(Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  std::size_t low = 0;
  std::size_t high = stream.size() + 1;
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    if (middle <= stream.size() && std::holds_alternative<NeedMore>(decode(stream.first(middle)))) low = middle + 1;
    else high = middle;
  }
  return low;
}

/// Lengths of prefixes to try, ascending: all of a short stream. Of a long one its head, what lies around the end of the message
/// (`decided`) and of the stream, and lengths drawn by a hash of its bytes, so that other bytes are cut elsewhere.
[[nodiscard]] inline std::vector<std::size_t> splits_to_try(ByteSpan stream, std::size_t decided) {
  std::vector<std::size_t> lengths;
  const auto add = [&](std::size_t length) {
    if (length <= stream.size()) lengths.push_back(length);
  };
  const std::size_t head = stream.size() <= all_splits_max_bytes ? stream.size() : head_splits;
  for (std::size_t length = 0; length <= head; ++length) add(length);
  if (head == stream.size()) return lengths;
  for (std::size_t near = 0; near <= 8; ++near) {
    add(decided + near - std::min<std::size_t>(decided, 4));
    add(stream.size() - near);
  }
  std::uint64_t drawn = 14'695'981'039'346'656'037U;  // FNV-1a
  for (const auto byte : stream) drawn = (drawn ^ byte) * 1'099'511'628'211U;
  for (std::size_t count = 0; count < drawn_splits; ++count) {
    drawn = drawn * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    add((drawn >> 33) % stream.size());
  }
  std::ranges::sort(lengths);
  return lengths;
}

/// Decodes prefixes of `stream` (splits_to_try): it must say NeedMore up to one length, and from there on the same as for the
/// whole stream, in every field of the message or in the fault. Returns what is wrong, or nothing.
template <class Message>
[[nodiscard]] std::string split_difference(Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  const auto whole = decode(stream);
  bool decided = false;
  for (const auto length : splits_to_try(stream, decided_at(decode, stream))) {
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
      if (!(early->message == done(whole)->message)) return "reads another message" + where;
    }
    if (const auto* early = malformed(part); early && *early != *malformed(whole)) return "blames differently" + where;
  }
  if (!decided && !std::holds_alternative<NeedMore>(whole)) return "decided on the whole only";
  return {};
}

}  // namespace epif::socks
