#include <cstdlib>

#include "base/bytes.h"
#include "model/route.h"

// routes.json: no crash, and what was read prints to text that reads back equal.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto table = epif::parse_routes(epif::as_text({data, size}));
  if (!table) return 0;
  const auto again = epif::parse_routes(epif::print_routes(*table));
  if (!again || *again != *table) std::abort();
  return 0;
}
