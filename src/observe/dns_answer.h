#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ip.h"

namespace epif::observe {

/// The addresses that an answer gives to the name that was asked for, over all aliases (RFC 1035, A and AAAA). Empty for
/// anything else, and for what breaks the format. Pure.
struct DnsAnswer {
  std::string name;  ///< lower case, without the last dot
  std::vector<IpAddress> addresses;
};
[[nodiscard]] std::optional<DnsAnswer> read_dns_answer(ByteSpan message);

}  // namespace epif::observe
