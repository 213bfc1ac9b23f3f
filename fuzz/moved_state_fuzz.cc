// What a predecessor tells of its clients' state: no crash, and what was understood is said again in the same words.
#include <cstdlib>
#include <string>

#include "proxy/moved_state.h"

using namespace epif;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > limits::handover_message_max_bytes) return 0;
  const auto told = proxy::parse_told(as_text(ByteSpan(data, size)));
  if (!told) return 0;
  for (const auto& text : proxy::print_told(*told)) {
    if (!proxy::is_told(text)) std::abort();
    const auto again = proxy::parse_told(text);
    if (!again) std::abort();
    const auto same = proxy::print_told(*again);
    if (same.size() != 1 || same.front() != text) std::abort();
  }
  return 0;
}
