#pragma once
#include <optional>

#include "base/limits.h"
#include "socks/socks6.h"

/// The EPI project's own form of SOCKS6, as its proxy and redirector "socksx" 0.1.1 to 2.0.0 speak it. Fields stand in the
/// order of SOCKS5 and are not padded:
///   request          06 01 ATYP ADDR PORT 00 OPTLEN(2) options
///   operation reply  06 code 00 ATYP ADDR PORT OPTLEN(2) options
/// The authentication reply is the draft's. It cannot be told from the draft's form by its bytes: only a listener that was
/// told to expects it.
namespace epif::socksx {

inline constexpr std::uint16_t kind_metadata = 0xFDE8;
/// A chain has a pseudo link for its first proxy besides those of the functions.
inline constexpr std::size_t links_max = limits::chain_max_functions + 1;

/// What a client says about the proxies on its way: kind 0xFDE8, keys 998 (index), 999 (number), 1000 and on (links, as
/// "socks6://host:port"). Unverified.
struct Chain {
  std::size_t index = 0;  ///< of the link that the receiver is
  socks::InlineList<std::string_view, links_max> links;
  friend bool operator==(const Chain&, const Chain&) = default;
};

struct Request {
  socks6::Request request;
  std::optional<Chain> chain;
  friend bool operator==(const Request&, const Request&) = default;
};

/// Options but the metadata are read as the draft has them. Errors besides the draft's: metadata with a gap, an index beyond
/// the links, more than links_max of them (Fault::option, too_long).
[[nodiscard]] socks::Decoded<Request> decode_request(ByteSpan received);
[[nodiscard]] socks::Decoded<socks6::OperationReply> decode_operation_reply(ByteSpan received);

/// Only the target is sent, with an empty list of methods and no initial data, as the project's own client does.
[[nodiscard]] std::size_t encode_request(const socks::Target& target, MutableByteSpan out);
/// Without options.
[[nodiscard]] std::size_t encode_operation_reply(const socks6::OperationReply& reply, MutableByteSpan out);

}  // namespace epif::socksx
