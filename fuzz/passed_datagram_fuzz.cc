// What a successor passes on: no crash, and what was understood is said again in the same words.
#include <cstdlib>
#include <vector>

#include "association/passed_datagram.h"
#include "base/limits.h"

using namespace epif;

namespace {

/// What is understood of it, said anew.
Bytes again(ByteSpan message, std::size_t& count, bool& whole) {
  Bytes said;
  count = 0;
  whole = association::each_passed(message, [&](const association::PassedDatagram& one) {
    association::append(said, one);
    ++count;
  });
  return said;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > limits::handover_message_max_bytes) return 0;
  std::size_t count = 0;
  bool whole = false;
  const auto said = again(ByteSpan(data, size), count, whole);
  if (said.size() > size || (whole && said.size() != size)) std::abort();
  std::size_t count_again = 0;
  const auto same = again(said, count_again, whole);
  if (!whole || count_again != count || same != said) std::abort();
  return 0;
}
