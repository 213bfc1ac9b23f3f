#pragma once
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "bridge/message.h"

/// Tells protocols by their first bytes. Pure.
namespace epif::functions {

enum class Protocol { any, dicom, http, tls, ssh, mysql };
[[nodiscard]] Result<Protocol> parse_protocol(std::string_view text);
[[nodiscard]] std::string_view name(Protocol protocol);

enum class Judgement { need_more, fits, differs };

/// Judges the first bytes of one direction; a wrong byte is enough for `differs`. Directions that the protocol says nothing
/// about fit at once. dicom: A-ASSOCIATE-RQ (PS3.8, table 9-11); http: a method of RFC 9110 or the HTTP/2 preface; tls: a
/// ClientHello record (RFC 8446, 5.1); ssh: "SSH-" from both (RFC 4253, 4.2); mysql: the server's handshake v10 or an
/// error first, then the client's packet number 1.
[[nodiscard]] Judgement judge(Protocol protocol, bridge::Direction direction, ByteSpan first);

inline constexpr std::size_t first_bytes_max = 32;  ///< no judgement needs more

}  // namespace epif::functions
