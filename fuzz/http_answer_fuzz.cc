// What a container engine answers, or whoever listens at its socket: no crash, an end, and the same answer or fault for every split. The
// first byte says whether the request was HEAD.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "bridge/http_answer.h"

using namespace epif;

namespace {

constexpr std::size_t splits_max_bytes = 256;

/// In pieces that end at `cut` and every `step` bytes.
std::string read(ByteSpan stream, std::size_t cut, std::size_t step, bool head) {
  std::size_t at = 0;
  unsigned ends = 0;
  const auto answer = bridge::read_http_answer(
      [&](MutableByteSpan into) -> Result<std::size_t> {
        if (into.empty()) std::abort();  // a read of nothing looks like the end
        if (at == stream.size() && ++ends > 1) std::abort();  // it asks again after the end
        const auto until = at < cut ? cut : std::min(at + step, stream.size());
        const auto size = std::min(into.size(), until - at);
        if (size > 0) std::memcpy(into.data(), stream.data() + at, size);
        at += size;
        return size;
      },
      head);
  if (!answer) {
    if (answer.error().code != Code::engine || answer.error().why.empty()) std::abort();
    return "fault";  // an answer with two faults may be blamed for either
  }
  if (head && !answer->body.empty()) std::abort();
  if (answer->body.size() > stream.size()) std::abort();
  return std::to_string(answer->status) + " " + answer->body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 256 * 1024) return 0;
  const bool head = (data[0] & 1) != 0;
  const ByteSpan stream(data + 1, size - 1);
  const auto whole = read(stream, stream.size(), stream.size() + 1, head);
  for (std::size_t cut = 1; cut < std::min(stream.size(), splits_max_bytes); ++cut) {
    if (read(stream, cut, stream.size(), head) != whole) std::abort();
  }
  if (stream.size() <= 4096 && read(stream, 0, 1, head) != whole) std::abort();
  return 0;
}
