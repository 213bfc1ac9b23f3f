#pragma once
#include <expected>
#include <string>
#include <string_view>

namespace epif {

/// The closed list of what can go wrong. The same word reaches user, log and metric (label `reason`).
enum class Code {
  usage,             ///< wrong arguments
  invalid_input,     ///< a file, document or request that breaks its format
  not_found,         ///< a named thing that does not exist
  conflict,          ///< two things that exclude each other; a stale version on write
  permission,        ///< the operating system refuses (no root)
  unsupported,       ///< a valid wish that this build or machine cannot fulfil
  denied,            ///< policy, consent or authoriser says no
  no_route,          ///< default deny: no route covers this connection
  revoked,           ///< a route was withdrawn while its flow was running
  expired,           ///< a route, consent or certificate is past its end
  unfeasible,        ///< no placeable bridging function supplies an attribute
  cycle,             ///< order constraints that contradict each other
  unauthenticated,   ///< missing or wrong credentials or certificate
  protocol,          ///< peer breaks its protocol (SOCKS, TLS, BF contract)
  limit,             ///< a limit on count, bytes, rate or time of ours is reached
  timeout,           ///< a deadline passed
  refused,           ///< connection refused by the other host
  net_unreachable,   ///< no route to the network
  host_unreachable,  ///< host down, or its name does not resolve
  ttl_expired,       ///< a packet's hops ended on the way: a loop of routes, or a TTL that was asked for
  reset,             ///< the peer reset the connection
  truncated,         ///< a stream ended before its proper end
  address_in_use,    ///< a port or path is taken
  no_descriptors,    ///< EMFILE, ENFILE
  bf_denied,         ///< a bridging function did not accept the connection
  bf_failed,         ///< a bridging function died, hangs or broke its contract
  bf_cut,            ///< a bridging function ended the flow
  engine,            ///< the container engine failed or does not answer
  io,                ///< reading or writing a file or socket failed
  internal,          ///< our own fault
};

/// The word for a code as it stands in logs, metrics and JSON: its enumerator's name.
[[nodiscard]] std::string_view name(Code code);

/// What went wrong (a phrase), where (file:line:column, object and field, or address), why, and what to do; the last
/// three may be empty. Never holds a secret.
struct Error {
  Code code = Code::internal;
  std::string what;
  std::string where{};
  std::string why{};
  std::string advice{};

  /// One line: "where: what: why; advice".
  [[nodiscard]] std::string text() const;
};

template <class T = void>
using Result = std::expected<T, Error>;

/// An unexpected value in one word: `return fail(Code::limit, "too many routes", "routes.json:3")`.
[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string what, std::string where = {}, std::string why = {},
                                                 std::string advice = {}) {
  return std::unexpected(Error{code, std::move(what), std::move(where), std::move(why), std::move(advice)});
}
[[nodiscard]] inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }

/// The error of a failed system call: maps `error_number` to a code and quotes the system's words.
[[nodiscard]] Error system_error(int error_number, std::string what, std::string where = {});

}  // namespace epif
