#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

/// What a load needs of MQTT 3.1.1 (OASIS standard, 2014): CONNECT, SUBSCRIBE, PUBLISH, PUBACK. Pure.
namespace epif::bench::mqtt {

enum class Type : std::uint8_t { connack = 2, publish = 3, puback = 4, suback = 9 };  // section 2.2.1

/// Section 3.1: a clean session without will and user, keep-alive off.
[[nodiscard]] Bytes connect(std::string_view client);
/// Section 3.8: one topic filter at QoS 0.
[[nodiscard]] Bytes subscribe(std::string_view filter);
/// Section 3.3: appends a PUBLISH with QoS 1; `id` is not 0.
void publish(Bytes& out, std::string_view topic, std::uint16_t id, ByteSpan payload);

struct Packet {
  Type type{};
  ByteSpan body;       ///< behind the fixed header; payload alone for a PUBLISH
  std::size_t length;  ///< of the whole packet in the stream
};

/// The packet at the start of `stream`; nothing while it is not whole; Code::protocol for what this client never asked for.
/// A CONNACK or SUBACK that says no is Code::refused.
[[nodiscard]] Result<std::optional<Packet>> next(ByteSpan stream);

}  // namespace epif::bench::mqtt
