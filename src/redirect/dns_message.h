#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ip.h"

/// As much of DNS (RFC 1035) as it takes to answer for names of ours. Pure; never reads past the bytes given.
namespace epif::redirect {

namespace dns {
inline constexpr std::uint16_t type_a = 1;
inline constexpr std::uint16_t type_aaaa = 28;
inline constexpr std::uint16_t class_in = 1;
}  // namespace dns

/// The one question of an ordinary query.
struct DnsQuestion {
  std::uint16_t id = 0;
  std::string name;     ///< lower case, without the last dot; bytes that are no letters of a host name make it no name of ours
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  std::size_t end = 0;  ///< where the question ends in the message
};

/// Nothing for an answer, another operation than a query, several questions, or a message that breaks the format.
[[nodiscard]] std::optional<DnsQuestion> read_question(ByteSpan message);

/// The answer for a name of ours: those addresses that the question's type asks for; none is "no such data" (RFC 2308 2.2).
[[nodiscard]] Bytes dns_answer(ByteSpan query, const DnsQuestion& question, const std::vector<IpAddress>& addresses);
/// REFUSED (RFC 1035 4.1.1).
[[nodiscard]] Bytes dns_refusal(ByteSpan query, const DnsQuestion& question);

}  // namespace epif::redirect
