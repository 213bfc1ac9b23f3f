#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "leak/rules.h"
#include "model/route.h"
#include "redirect/routes.h"

/// What would happen to a connection from this node, hop by hop, and why. Asks the same code as redirector and proxy do, and
/// changes nothing.
namespace epif::trace {

/// What the user asks.
struct Question {
  Destination destination;            ///< port 0: the one that the routes name, if there is only one
  Protocol protocol = Protocol::tcp;
  std::optional<redirect::Program> who{};  ///< the program, where routes select by it
  std::string from{};                      ///< asked at a proxy here, by this node ("domain/node") or address; empty: not said
};

enum class Role { redirector, proxy };

/// One routes table that lies on this node, and who serves it.
struct Table {
  Role role = Role::redirector;
  std::string file;      ///< where it was read from, for messages
  RouteTable routes;
  std::string admin;     ///< path of the admin socket; empty: none
  bool answers = false;  ///< its process answers there
  std::optional<std::uint64_t> serves{};  ///< generation that its process has, which need not be the file's
  std::string malformed{};  ///< why the file cannot be read; `routes` is empty then, and the process goes on with what it has
};

/// What there is to see on this node.
struct View {
  std::vector<leak::Guard> guards;      ///< capture rules in force
  std::vector<std::uint16_t> running;   ///< listen ports of redirectors that live
  std::vector<Table> tables;
  std::chrono::sys_seconds now{};
};

/// What needs a look at the moment itself; in tests without a system.
struct Looks {
  std::function<Result<>(const ChainLink&)> function_answers;
  /// Absent: nobody asked for connections. The mark is the redirector's own, 0 for none: without it the rules would lead a
  /// connection to the redirector, who accepts whatever the far end does.
  std::function<Result<>(const SocketAddress&, std::uint32_t mark)> connects;
  /// This node's address towards another; nothing if there is no way.
  std::function<std::optional<IpAddress>(const IpAddress&)> address_towards;
};

enum class State { passes, refuses, unknown };
[[nodiscard]] std::string_view name(State state);

struct Hop {
  std::string hop;    ///< "capture", "route", "function", "proxy", "upstream"
  State state = State::passes;
  std::string says;   ///< one sentence
  std::vector<std::pair<std::string, std::string>> facts{};
};

enum class Verdict { passes, refused, not_captured };
[[nodiscard]] std::string_view name(Verdict verdict);  ///< "would pass", "would be refused", "not captured"

struct Answer {
  std::string destination;
  Protocol protocol = Protocol::tcp;
  Verdict verdict = Verdict::passes;
  std::vector<Hop> hops;
  std::vector<std::string> refusals{};  ///< recent ones of this destination, newest last
};

/// The address and port that a question means. Names are found in the routes, as the redirector does: of several that have the name
/// counts the one that would serve. Errors: not_found (no route has the name), usage (several ports).
[[nodiscard]] Result<SocketAddress> resolve(const Question& question, const View& view);
/// The walk itself. Ends at the first hop that refuses, or where another host would have to be asked. With `from`, and on a node
/// without a guard that holds a proxy's table, it begins at the proxy: for each hop before it that has a route there, one walk
/// behind the other; one that refuses makes the verdict. Errors: as resolve(), not_found (`from`, but no proxy's table is seen).
[[nodiscard]] Result<Answer> walk(const Question& question, const View& view, const Looks& looks);

[[nodiscard]] std::string print_text(const Answer& answer);
[[nodiscard]] std::string print_json(const Answer& answer);

}  // namespace epif::trace
