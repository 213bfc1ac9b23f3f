#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

/// The decoder's answer, the same for every SOCKS version and both roles.
///
/// A decoder is a pure function of all bytes received so far. For every prefix of a stream it answers NeedMore, or what it
/// answers for the whole stream: how the bytes were cut into segments can never matter. Messages hold views into the
/// caller's bytes and live as long as those; nothing is allocated.
namespace epif::socks {

/// Which rule a peer broke; decides the reply, if its version has one.
enum class Fault : std::uint8_t {
  version,       ///< first byte is not of this protocol
  address_type,  ///< an address type that does not exist: the length of the message is unknown
  name,          ///< empty name, or a NUL inside
  option,        ///< a SOCKS6 option or option block with an impossible length or body
  credentials,   ///< user name or password empty or cut
  too_long,      ///< a field beyond its limit
  reserved,      ///< a field that must be zero is not
};

struct NeedMore {
  friend bool operator==(const NeedMore&, const NeedMore&) = default;
};

template <class Message>
struct Done {
  Message message;
  std::size_t consumed;  ///< bytes of the message; what follows belongs to the next one, or to the application
  friend bool operator==(const Done&, const Done&) = default;
};

struct Malformed {
  Fault fault;
  std::string_view what;  ///< a literal for the log; never the peer's bytes
  friend bool operator==(const Malformed&, const Malformed&) = default;
};

template <class Message>
using Decoded = std::variant<NeedMore, Done<Message>, Malformed>;

/// Shorthands for the three alternatives of a Decoded.
template <class Message>
[[nodiscard]] const Done<Message>* done(const Decoded<Message>& decoded) {
  return std::get_if<Done<Message>>(&decoded);
}
template <class Message>
[[nodiscard]] const Malformed* malformed(const Decoded<Message>& decoded) {
  return std::get_if<Malformed>(&decoded);
}

}  // namespace epif::socks
