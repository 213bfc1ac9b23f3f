#include <cstdlib>

#include "base/bytes.h"
#include "model/document.h"

// Documents from anybody: no crash, and what was read prints to text that reads back equal.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto resources = epif::parse_resources(epif::as_text({data, size}), "fuzz");
  if (!resources) return 0;
  epif::ResourceSet set;
  for (const auto& resource : *resources) {
    const auto from_json = epif::parse_resource(epif::to_json(resource), "json");
    if (!from_json || *from_json != resource) std::abort();
    const auto from_yaml = epif::parse_resource(epif::to_yaml(resource), "yaml");
    if (!from_yaml || *from_yaml != resource) std::abort();
    (void)set.add(resource);
  }
  (void)set.check();
  return 0;
}
