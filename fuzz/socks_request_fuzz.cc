// What clients send to a proxy: no crash, the same message for every split (of long inputs for some, src/socks/split_property.h),
// and what was read can be written and read again. The first byte picks the message.
#include <cstdlib>

#include "base/bytes.h"
#include "socks/socks4.h"
#include "socks/socks5.h"
#include "socks/socks6.h"
#include "socks/socksx.h"
#include "socks/split_property.h"

using namespace epif;

namespace {

template <class Message>
void check_splits(socks::Decoded<Message> (*decode)(ByteSpan), ByteSpan stream) {
  if (!socks::split_difference(decode, stream).empty()) std::abort();
}

/// What the decoder read, the encoder writes, and the decoder reads again as the same.
void check_round_trip(ByteSpan stream) {
  const auto decoded = socks6::decode_request(stream);
  const auto* first = socks::done(decoded);
  if (first == nullptr) return;
  Bytes out(32 * 1024);
  const auto size = socks6::encode_request(first->message, out);
  if (size == 0) return;
  const auto again = socks6::decode_request(ByteSpan(out).first(size));
  const auto* second = socks::done(again);
  if (second == nullptr || second->consumed != size || !(second->message == first->message)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan stream(data + 1, size - 1);
  switch (data[0] % 6) {
    case 0: check_splits(socks4::decode_request, stream); break;
    case 1: check_splits(socks5::decode_greeting, stream); break;
    case 2: check_splits(socks5::decode_credentials, stream); break;
    case 3: check_splits(socks5::decode_request, stream); break;
    case 4: check_splits(socks6::decode_request, stream); check_round_trip(stream); break;
    default: check_splits(socksx::decode_request, stream);
  }
  return 0;
}
