#include <cstdlib>

#include "observe/dns_answer.h"
#include "observe/segment.h"

/// Whatever strangers put on the wire while a node is observed: a packet is read within its bytes, or passed over, and so is a DNS
/// answer, alone or as a datagram's payload.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace epif;
  const ByteSpan bytes(data, size);
  const auto look = [](ByteSpan message) {
    const auto answer = observe::read_dns_answer(message);
    if (answer && (answer->name.size() > 255 || answer->addresses.size() > message.size())) std::abort();
  };
  look(bytes);
  const auto segment = observe::read_segment(bytes);
  if (!segment) return 0;
  if (segment->from.ip.is_v6() != segment->to.ip.is_v6()) std::abort();
  if (!segment->payload.empty() && (segment->payload.data() < data || segment->payload.data() + segment->payload.size() > data + size)) std::abort();
  look(segment->payload);
  return 0;
}
