#pragma once
#include "base/bytes.h"
#include "socks/decoded.h"
#include "socks/target.h"
#include "socks/wire.h"

/// SOCKS5 (RFC 1928) and its user name / password method (RFC 1929), both roles.
namespace epif::socks5 {

inline constexpr std::uint8_t version = 5;
inline constexpr std::uint8_t credentials_version = 1;  ///< RFC 1929 section 2: not 5

/// IANA SOCKS methods that we speak, and "none acceptable".
enum class Method : std::uint8_t { none = 0, user_password = 2, unacceptable = 0xff };

/// `05 n m1..mn` (RFC 1928 section 3). Zero methods are legal to send and never acceptable.
struct Greeting {
  socks::View methods;
  [[nodiscard]] bool offers(Method method) const;
  friend bool operator==(const Greeting&, const Greeting&) = default;
};

/// `01 ulen user plen password` (RFC 1929 section 2), each 1..255 bytes.
struct Credentials {
  std::string_view user;
  std::string_view password;
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

/// `05 cmd 00 atyp addr port` (RFC 1928 section 4).
struct Request {
  socks::Command command = socks::Command::connect;
  socks::Target target;
  friend bool operator==(const Request&, const Request&) = default;
};

/// `05 rep 00 atyp addr port` (RFC 1928 section 6).
struct OperationReply {
  socks::Reply reply = socks::Reply::success;
  socks::Target bound;
  friend bool operator==(const OperationReply&, const OperationReply&) = default;
};

// Server side reads, client side writes.
[[nodiscard]] socks::Decoded<Greeting> decode_greeting(ByteSpan received);
[[nodiscard]] socks::Decoded<Credentials> decode_credentials(ByteSpan received);
[[nodiscard]] socks::Decoded<Request> decode_request(ByteSpan received);

// Client side reads, server side writes.
[[nodiscard]] socks::Decoded<Method> decode_method(ByteSpan received);
/// `01 status`: true if the credentials were accepted.
[[nodiscard]] socks::Decoded<bool> decode_credentials_status(ByteSpan received);
[[nodiscard]] socks::Decoded<OperationReply> decode_reply(ByteSpan received);

/// The encoders return the bytes written, 0 if `out` is too small or a field is outside of its limits.
inline constexpr std::size_t max_message_bytes = 513;  ///< credentials; every other message is smaller
[[nodiscard]] std::size_t encode_greeting(ByteSpan methods, MutableByteSpan out);
[[nodiscard]] std::size_t encode_credentials(const Credentials& credentials, MutableByteSpan out);
[[nodiscard]] std::size_t encode_request(const Request& request, MutableByteSpan out);
[[nodiscard]] std::size_t encode_method(Method method, MutableByteSpan out);
[[nodiscard]] std::size_t encode_credentials_status(bool accepted, MutableByteSpan out);
[[nodiscard]] std::size_t encode_reply(const OperationReply& reply, MutableByteSpan out);

}  // namespace epif::socks5
