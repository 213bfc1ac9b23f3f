// What another hospital's half of a pair sends: the same plaintext and the same fault for every split, and only what its peer sealed.
// Bits of the first byte: suite, direction, and whether the rest is the stream itself. Else the second byte says how many changes
// follow, of three bytes each (place, of the stream's 65,536ths; value), and the rest is sealed and then changed.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "functions/sealed_frames.h"

using namespace epif;
using functions::Suite;

namespace {

constexpr std::size_t input_max_bytes = 64 * 1024;
constexpr std::size_t all_splits_max_bytes = 512;
const Bytes key(32, 0x42);

struct Opened {
  Bytes plain;
  std::string fault;  ///< of a piece, or of the end
  friend bool operator==(const Opened&, const Opened&) = default;
};

class Half {
 public:
  Half(Suite suite, bridge::Direction direction) : suite_(suite), direction_(direction) {}

  [[nodiscard]] Bytes sealed(ByteSpan plain) const {
    functions::Sealer sealer(suite_, key, direction_);
    Bytes out;
    const auto first = plain.size() / 3;  // two frames of a short text
    if (!sealer.seal(plain.first(first), out) || !sealer.seal(plain.subspan(first), out) || !sealer.finish(out)) std::abort();
    return out;
  }
  /// In two pieces cut at `cut`, or byte by byte.
  [[nodiscard]] Opened opened(ByteSpan stream, std::size_t cut, bool bytewise = false) const {
    functions::Opener opener(suite_, key, direction_);
    Opened made;
    for (std::size_t at = 0; at < stream.size();) {
      const auto size = bytewise ? 1 : at < cut ? std::min(cut, stream.size()) - at : stream.size() - at;
      const Bytes exact(stream.begin() + static_cast<std::ptrdiff_t>(at), stream.begin() + static_cast<std::ptrdiff_t>(at + size));
      if (const auto done = opener.open(exact, made.plain); !done) {
        made.fault = done.error().text();
        return made;
      }
      at += size;
    }
    if (const auto done = opener.finish(); !done) made.fault = done.error().text();
    return made;
  }

 private:
  Suite suite_;
  bridge::Direction direction_;
};

Opened check_splits(const Half& half, ByteSpan stream) {
  const auto whole = half.opened(stream, stream.size());
  const auto step = stream.size() <= all_splits_max_bytes ? 1 : stream.size() / 16;
  for (std::size_t cut = 1; cut < stream.size(); cut += step) {
    if (half.opened(stream, cut) != whole) std::abort();
  }
  if (stream.size() <= all_splits_max_bytes && half.opened(stream, 0, true) != whole) std::abort();
  return whole;
}

void change(Bytes& stream, ByteSpan changes) {
  for (; changes.size() >= 3; changes = changes.subspan(3)) {
    const auto at = stream.size() * load_u16(changes.data()) / 65'536;
    const auto place = stream.begin() + static_cast<std::ptrdiff_t>(at);
    if (changes[2] == 0) stream.resize(at);
    else if (changes[2] == 1) stream.insert(place, stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(at));
    else if (changes[2] == 2) stream.erase(place);
    else *place ^= changes[2];
    if (stream.empty()) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > input_max_bytes) return 0;
  const Half half((data[0] & 1) == 0 ? Suite::aes_256_gcm : Suite::chacha20_poly1305,
                  (data[0] & 2) == 0 ? bridge::Direction::to_server : bridge::Direction::to_client);
  if ((data[0] & 4) != 0) {
    check_splits(half, ByteSpan(data + 1, size - 1));
    return 0;
  }
  const ByteSpan rest(data + 2, size - 2);
  const auto changes = rest.first(std::min(rest.size(), std::size_t{3} * (data[1] % 8)));
  const auto plain = rest.subspan(changes.size());
  const auto sent = half.sealed(plain);
  auto stream = sent;
  change(stream, changes);
  const auto opened = check_splits(half, stream);
  if (opened.plain.size() > plain.size() || !std::equal(opened.plain.begin(), opened.plain.end(), plain.begin())) std::abort();
  if (opened.fault.empty() != (stream == sent)) std::abort();
  if (stream == sent && opened.plain.size() != plain.size()) std::abort();
  return 0;
}
