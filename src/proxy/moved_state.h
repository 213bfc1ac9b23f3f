#pragma once
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "admission/client_sessions.h"
#include "net/limiter.h"

/// What a proxy tells its successor of the state that its clients share: what they hold against the limits, and their SOCKS6 sessions.
/// The words in which it crosses the hand-over's socket; each is one message. Pure.
namespace epif::proxy {

/// Whose counts they are.
enum class Counted { connections, associations, next_associations };
inline constexpr Counted all_counted[] = {Counted::connections, Counted::associations, Counted::next_associations};

struct MovedCounts {
  Counted of = Counted::connections;
  net::Limiter::Held held;  ///< of sources and routes that are named; the others have not changed
};
struct MovedRates {
  Counted of = Counted::connections;
  net::Limiter::Rates rates;
};
using MovedSessions = std::vector<admission::MovedSession>;
struct EndedSession {
  admission::SessionId id{};
};
/// What held when the old process accepted no more has been told; what follows are changes.
struct StateTold {};

using Told = std::variant<MovedCounts, MovedRates, MovedSessions, EndedSession, StateTold>;

[[nodiscard]] std::vector<std::string> print_told(const Told& told);
/// False: the message is about flows (moved_flow.h).
[[nodiscard]] bool is_told(std::string_view text);
/// Errors: protocol, which never quotes the message: an id is a bearer's credential.
[[nodiscard]] Result<Told> parse_told(std::string_view text);

}  // namespace epif::proxy
