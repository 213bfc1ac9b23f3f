#pragma once
#include <atomic>
#include <optional>

#include "admission/conversation.h"
#include "bridge/chain.h"
#include "model/routing.h"
#include "net/relay.h"
#include "net/resolver.h"
#include "onward/attempt.h"

namespace epif::proxy {

/// One connection from accept to end, registered with its worker all the time, so that a change of routes, a stop or an
/// expiry finds it in whatever stage it is. Lives in its session's coroutine frame.
struct Flow final : onward::Attempt {
  enum class Stage { handshake, deciding, open };

  std::uint64_t id = 0;
  bool is_trunk = false;        ///< carries others, and is none itself
  Stage stage = Stage::handshake;
  SocketAddress peer;
  Identity identity{};          ///< from the client's certificate; empty in clear
  Destination target{};
  std::optional<Wish> wish{};   ///< of a client that named no flow: asked again when the routes change
  RoutePtr route{};             ///< set when a route was found
  net::TimePoint since{};
  net::Stream* client = nullptr;
  net::Stream* upstream = nullptr;
  net::Resolver::Asking* asking = nullptr;  ///< while a name is resolved
  const bridge::Chain* accepted = nullptr;  ///< its functions have accepted
  bridge::Chain* chain = nullptr;           ///< while it runs
  net::Carried to_server{};
  net::Carried to_client{};
  std::optional<Error> cut_reason{};
  net::Loop::Timer expiry{};

  /// Ends the flow now, with an error at both ends. The session notices and cleans up.
  void cut(const Error& why) {
    if (cut_reason) return;
    cut_reason = why;
    if (asking != nullptr) asking->cancel(why);
    if (chain != nullptr) {
      chain->cut(why);
      return;
    }
    if (upstream != nullptr) upstream->abort(why);
    if (client != nullptr) client->abort(why);
  }
  /// Asked after each wait before the flow is open: neither cut, nor has one of its functions died since it accepted.
  [[nodiscard]] Result<> still_granted() const override {
    if (cut_reason) return fail(*cut_reason);
    if (accepted != nullptr && accepted->failure()) return fail(*accepted->failure());
    return {};
  }
  void waits_for(net::Stream* stream) override { upstream = stream; }
  [[nodiscard]] std::uint64_t bytes_to_server() const { return chain != nullptr ? chain->from_client() : to_server.bytes; }
  [[nodiscard]] std::uint64_t bytes_to_client() const { return chain != nullptr ? chain->from_server() : to_client.bytes; }
};

}  // namespace epif::proxy
