// What a proxy sends to its client: no crash, and the same message for every split (of long inputs for some,
// src/socks/split_property.h). The first byte picks the message.
#include <cstdlib>

#include "base/bytes.h"
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan stream(data + 1, size - 1);
  switch (data[0] % 6) {
    case 0: check_splits(socks5::decode_method, stream); break;
    case 1: check_splits(socks5::decode_credentials_status, stream); break;
    case 2: check_splits(socks5::decode_reply, stream); break;
    case 3: check_splits(socks6::decode_authentication_reply, stream); break;
    case 4: check_splits(socks6::decode_operation_reply, stream); break;
    default: check_splits(socksx::decode_operation_reply, stream);
  }
  return 0;
}
