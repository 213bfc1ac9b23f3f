#include "orchestrator/foreign.h"

#include <algorithm>
#include <array>
#include <optional>

namespace epif::orchestrator {
namespace {

struct Part {
  Cidr block;
  const std::string* node = nullptr;
  const std::string* domain = nullptr;
};

/// The block that consists of these two; none if they are no halves of one.
std::optional<Cidr> joined(const Cidr& low, const Cidr& high) {
  if (low.prefix != high.prefix || low.prefix == 0 || low.address.is_v6() != high.address.is_v6()) return {};
  const auto bit = static_cast<std::size_t>(low.prefix - 1);
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(low.address.bytes(), bytes.begin());
  const auto mask = static_cast<std::uint8_t>(0x80u >> (bit % 8));
  if ((bytes[bit / 8] & mask) != 0) return {};
  bytes[bit / 8] |= mask;
  const ByteSpan sibling(bytes.data(), low.address.bytes().size());
  if (!std::ranges::equal(sibling, high.address.bytes())) return {};
  return Cidr{low.address, static_cast<std::uint8_t>(low.prefix - 1)};
}

}  // namespace

Addresses::Addresses(const ResourceSet& resources) {
  for (const auto& [name, node] : resources.nodes) {
    for (const auto& address : node.addresses) sorted_.push_back({address, &name, &node.metadata.domain});
  }
  std::ranges::sort(sorted_, {}, &One::address);
}

std::vector<ForeignBlock> Addresses::outside(std::string_view domain) const {
  std::vector<Part> parts;
  for (const auto& [address, node, its_domain] : sorted_) {
    if (*its_domain == domain) continue;
    parts.push_back({{address, static_cast<std::uint8_t>(address.is_v6() ? 128 : 32)}, node, its_domain});
    // Ascending addresses: whatever can be joined stands at the end.
    while (parts.size() > 1) {
      auto& low = parts[parts.size() - 2];
      const auto& high = parts.back();
      const auto whole = joined(low.block, high.block);
      if (!whole) break;
      low.block = *whole;
      if (low.node != high.node) low.node = nullptr;
      if (low.domain == nullptr || high.domain == nullptr || *low.domain != *high.domain) low.domain = nullptr;
      parts.pop_back();
    }
  }
  std::vector<ForeignBlock> out;
  out.reserve(parts.size());
  for (const auto& part : parts) out.push_back({part.block, part.node ? *part.node : "", part.domain ? *part.domain : ""});
  return out;
}

}  // namespace epif::orchestrator
