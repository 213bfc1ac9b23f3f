#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <variant>

#include "base/bytes.h"
#include "base/error.h"

/// Messages of the BF contract, version 1 (docs/bf-contract.md): one JSON object, a newline, and for `start` the early
/// bytes. Pure codec; each message is one packet of a Unix seqpacket socket. Unknown fields are ignored, so that a
/// version may grow; a missing field, a wrong type or an excess is Code::protocol.
namespace epif::bridge {

inline constexpr unsigned contract_version = 1;
using TextMap = std::map<std::string, std::string>;

/// Which way bytes travel, whoever sent them.
enum class Direction { to_server, to_client };
[[nodiscard]] std::string_view name(Direction direction);

// Proxy to BF.

/// A connection is about to be made; answer with Accept or Deny.
struct Open {
  std::uint64_t conn = 0;    ///< number on this control connection, never used again
  std::string flow;
  std::uint32_t position = 0;  ///< 0 is nearest to the client
  std::uint32_t length = 1;    ///< functions in this proxy's chain
  std::string source;
  std::string destination;
  std::string data = "both";   ///< push, pull, both
  std::string purpose;
  TextMap parameters;
  Bytes key;                   ///< 32 bytes for halves of a pair, otherwise empty
  TextMap metadata;
};
/// The streams: two descriptors come with this packet, towards the client and towards the server.
struct Start {
  std::uint64_t conn = 0;
  bool direct_client = false;  ///< a TCP socket itself: after `end` the proxy shuts it down, not the BF
  bool direct_server = false;
  Bytes early_client;          ///< bytes already read from the client; they come before those on the descriptor
  Bytes early_server;
};
/// Both ways: the flow ends now, with an error.
struct Cut {
  std::uint64_t conn = 0;
  std::string reason;
};

// BF to proxy.

struct Accept {
  std::uint64_t conn = 0;
  TextMap metadata;          ///< added to what later BFs see
  bool may_release = false;  ///< asks the proxy to keep duplicates, so that `release` is possible
};
struct Deny {
  std::uint64_t conn = 0;
  std::string reason;
};
/// Sent before the BF shuts down its write side: this direction is complete after `bytes` bytes written by the BF.
struct End {
  std::uint64_t conn = 0;
  Direction direction = Direction::to_server;
  std::uint64_t bytes = 0;
};
/// The BF has written all it read, keeps nothing and touches the streams no more.
struct Release {
  std::uint64_t conn = 0;
  std::uint64_t bytes_to_server = 0;
  std::uint64_t bytes_to_client = 0;
};
struct Report {
  std::uint64_t conn = 0;
  std::uint64_t bytes_to_server = 0;
  std::uint64_t bytes_to_client = 0;
  std::string verdict;
  std::string note;
  TextMap detail;
};

using ToFunction = std::variant<Open, Start, Cut>;
using FromFunction = std::variant<Accept, Deny, End, Cut, Release, Report>;

[[nodiscard]] Bytes encode(const ToFunction& message);
[[nodiscard]] Bytes encode(const FromFunction& message);
[[nodiscard]] Result<ToFunction> decode_to_function(ByteSpan packet);
[[nodiscard]] Result<FromFunction> decode_from_function(ByteSpan packet);

/// The connection that a message of a BF is about.
[[nodiscard]] std::uint64_t connection_of(const FromFunction& message);

}  // namespace epif::bridge
