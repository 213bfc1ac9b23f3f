// Addresses, blocks, ports and targets as users write them: reading never crashes, and what was read prints and reads back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/ip.h"

namespace {

template <class T>
void round_trip(const std::string& text) {
  const auto read = T::parse(text);
  if (!read) return;
  const auto again = T::parse(read->text());
  if (!again || *again != *read) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  round_trip<epif::IpAddress>(text);
  round_trip<epif::Cidr>(text);
  round_trip<epif::PortRange>(text);
  round_trip<epif::SocketAddress>(text);
  round_trip<epif::Destination>(text);
  round_trip<epif::CaptureTarget>(text);
  return 0;
}
