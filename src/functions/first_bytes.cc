#include "functions/first_bytes.h"

#include <algorithm>
#include <array>
#include <string>

namespace epif::functions {
namespace {

constexpr std::array<std::pair<std::string_view, Protocol>, 6> protocols{{{"any", Protocol::any},
                                                                          {"dicom", Protocol::dicom},
                                                                          {"http", Protocol::http},
                                                                          {"tls", Protocol::tls},
                                                                          {"ssh", Protocol::ssh},
                                                                          {"mysql", Protocol::mysql}}};

Judgement prefix(std::string_view wanted, ByteSpan first) {
  const auto have = std::min(wanted.size(), first.size());
  if (as_text(first.first(have)) != wanted.substr(0, have)) return Judgement::differs;
  return have == wanted.size() ? Judgement::fits : Judgement::need_more;
}

// PDU type 01, reserved 00, length (a request holds 68 bytes before its items), protocol version with bit 0, reserved.
Judgement dicom(ByteSpan first) {
  constexpr std::uint32_t length_min = 68;
  constexpr std::uint32_t length_max = 1024 * 1024;
  if (!first.empty() && first[0] != 0x01) return Judgement::differs;
  if (first.size() >= 2 && first[1] != 0x00) return Judgement::differs;
  if (first.size() < 10) return Judgement::need_more;
  const auto length = load_u32(first.data() + 2);
  const auto version = load_u16(first.data() + 6);
  return length >= length_min && length <= length_max && (version & 1) != 0 ? Judgement::fits : Judgement::differs;
}

Judgement http(ByteSpan first) {
  auto best = Judgement::differs;
  for (const auto* method : {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ",
                             "PRI * HTTP/2.0\r\n"}) {
    const auto one = prefix(method, first);
    if (one == Judgement::fits) return one;
    if (one == Judgement::need_more) best = one;
  }
  return best;
}

// Record type 22, version 3.x, length up to 2^14, handshake type 1.
Judgement tls(ByteSpan first) {
  if (!first.empty() && first[0] != 0x16) return Judgement::differs;
  if (first.size() >= 2 && first[1] != 0x03) return Judgement::differs;
  if (first.size() < 6) return Judgement::need_more;
  const auto length = load_u16(first.data() + 3);
  return first[2] <= 0x04 && length >= 4 && length <= 16'384 && first[5] == 0x01 ? Judgement::fits : Judgement::differs;
}

// Packets: length (3 bytes, little-endian), number, content.
Judgement mysql(bridge::Direction direction, ByteSpan first) {
  const std::uint8_t number = direction == bridge::Direction::to_client ? 0 : 1;
  if (first.size() >= 4 && first[3] != number) return Judgement::differs;
  if (first.size() < 5) return Judgement::need_more;
  if (direction == bridge::Direction::to_server) return Judgement::fits;
  return first[4] == 0x0a || first[4] == 0xff ? Judgement::fits : Judgement::differs;
}

}  // namespace

Result<Protocol> parse_protocol(std::string_view text) {
  for (const auto& [word, protocol] : protocols)
    if (word == text) return protocol;
  return fail(Code::invalid_input, "no such protocol", "parameter protocol", std::string(text),
              "use any, dicom, http, tls, ssh or mysql");
}

std::string_view name(Protocol protocol) {
  for (const auto& [word, one] : protocols)
    if (one == protocol) return word;
  return "any";
}

Judgement judge(Protocol protocol, bridge::Direction direction, ByteSpan first) {
  const bool from_client = direction == bridge::Direction::to_server;
  switch (protocol) {
    case Protocol::any: return Judgement::fits;
    case Protocol::dicom: return from_client ? dicom(first) : Judgement::fits;
    case Protocol::http: return from_client ? http(first) : Judgement::fits;
    case Protocol::tls: return from_client ? tls(first) : Judgement::fits;
    case Protocol::ssh: return prefix("SSH-", first);
    case Protocol::mysql: return mysql(direction, first);
  }
  return Judgement::differs;
}

}  // namespace epif::functions
