// Packets of the BF contract, from a hostile function and (in the SDK) from a proxy: no crash, and what was read can be
// written and read again as the same. The first byte picks the side.
#include <cstdlib>

#include "bridge/message.h"

using namespace epif;

namespace {

template <class Message>
void check(Result<Message> (*decode)(ByteSpan), ByteSpan packet) {
  const auto first = decode(packet);
  if (!first) {
    if (first.error().code != Code::protocol) std::abort();
    return;
  }
  const auto written = bridge::encode(*first);
  const auto second = decode(written);
  // Texts that are no UTF-8 never get here: the JSON parser refuses them.
  if (!second || bridge::encode(*second) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan packet(data + 1, size - 1);
  if ((data[0] & 1) == 0) check(bridge::decode_from_function, packet);
  else check(bridge::decode_to_function, packet);
  return 0;
}
